"""A Word document: a title, then each turn with its speaker and time."""

from io import BytesIO

import docx
from docx.document import Document

from services.gateway.formats.clock import hours_minutes_seconds
from services.gateway.formats.escaping import plain
from services.gateway.formats.turns import Turn, turns
from steno.jobs.v1.transcript_pb2 import Transcript

NO_SPEECH = "No speech was found in this recording."


def to_docx(transcript: Transcript, title: str) -> bytes:
    """The .docx file. Slow for hours of speech: call it off the event loop."""
    document = docx.Document()
    document.core_properties.title = plain(title)[:255]
    document.core_properties.author = ""
    document.add_heading(plain(title), level=1)
    paragraphs = 0
    for turn in turns(transcript):
        _add_turn(document, turn)
        paragraphs += 1
    if not paragraphs:
        document.add_paragraph(NO_SPEECH)
    file = BytesIO()
    document.save(file)
    return file.getvalue()


def _add_turn(document: Document, turn: Turn) -> None:
    paragraph = document.add_paragraph()
    heading = f"{turn.speaker}  " if turn.speaker else ""
    paragraph.add_run(f"{heading}{hours_minutes_seconds(max(turn.start_ms, 0) // 1000)}").bold = True
    paragraph.add_run().add_break()
    paragraph.add_run(turn.text)
