"""A transcript as each of the response formats."""

from typing import Any

from starlette.responses import JSONResponse, Response

from services.gateway.contracts.openai.asks import Ask, Format
from services.gateway.formats.diarized import to_diarized
from services.gateway.formats.logprobs import to_logprobs
from services.gateway.formats.srt import to_srt
from services.gateway.formats.usage import to_usage
from services.gateway.formats.verbose import TRANSLATE, to_verbose
from services.gateway.formats.vtt import to_vtt
from services.gateway.transcripts import parse
from steno.jobs.v1.transcript_pb2 import Transcript

_PLAIN = "text/plain; charset=utf-8"
_TYPES = {Format.TEXT: _PLAIN, Format.SRT: _PLAIN, Format.VTT: "text/vtt; charset=utf-8"}


def render(document: bytes, ask: Ask) -> Response:
    """The answer to a request that waited. Slow for hours of speech: call it off the event loop."""
    transcript = parse(document)
    if ask.format in _TYPES:
        return Response(_text(transcript, ask.format), headers={"content-type": _TYPES[ask.format]})
    return JSONResponse(_object(transcript, ask))


def _text(transcript: Transcript, form: Format) -> str:
    if form is Format.SRT:
        return to_srt(transcript)
    return to_vtt(transcript) if form is Format.VTT else f"{transcript.text}\n"


def _object(transcript: Transcript, ask: Ask) -> dict[str, Any]:
    if ask.format is Format.VERBOSE_JSON:
        return to_verbose(transcript, task=TRANSLATE if ask.translates else "transcribe", granularities=ask.granularities)
    if ask.format is Format.DIARIZED_JSON:
        return to_diarized(transcript, ask.names)
    if ask.translates:
        return {"text": transcript.text}
    logprobs = {"logprobs": to_logprobs(transcript)} if ask.logprobs else {}
    return {"text": transcript.text, **logprobs, "usage": to_usage(transcript)}
