"""Text made safe for the documents it is put into."""

import re

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufeff\ufffe\uffff]")
# Lenient readers take any line with two times in it for a cue's own.
_CUE_TIME = re.compile(r"\d:(?:\d{1,2}[.,]\d|\d{2}.\d{2})")
_COLON = re.compile(r"(?<=\d):(?=\d)")


def plain(text: str) -> str:
    """One line: no control characters, each run of white space a single space."""
    return " ".join(_CONTROLS.sub("", text).split())


def for_vtt(text: str) -> str:
    """WebVTT cue text: the three characters with a meaning as entities."""
    return _no_times(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def for_srt(text: str) -> str:
    """SubRip cue text. SubRip has no escapes, so what players read as markup becomes its nearest lookalike."""
    return _no_times(text).replace("-->", "→").replace("<", "‹").replace(">", "›").replace("{", "(").replace("}", ")")


def for_voice(speaker: str) -> str:
    """The annotation of a WebVTT voice tag."""
    return for_vtt(plain(speaker))


def _no_times(text: str) -> str:
    return _COLON.sub("∶", text) if len(_CUE_TIME.findall(text)) > 1 else text
