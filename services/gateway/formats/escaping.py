"""Text made safe for the documents it is put into."""

import re

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufeff\ufffe\uffff]")


def plain(text: str) -> str:
    """One line: no control characters, each run of white space a single space."""
    return " ".join(_CONTROLS.sub("", text).split())


def for_vtt(text: str) -> str:
    """WebVTT cue text: the three characters with a meaning as entities."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def for_srt(text: str) -> str:
    """SubRip cue text. SubRip has no escapes, so what players read as markup becomes its nearest lookalike."""
    return text.replace("-->", "→").replace("<", "‹").replace(">", "›").replace("{", "(").replace("}", ")")


def for_voice(speaker: str) -> str:
    """The annotation of a WebVTT voice tag."""
    return for_vtt(plain(speaker))
