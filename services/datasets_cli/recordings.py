"""Recordings of a folder: which files are one, and under which type each is announced."""

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from services.client.failures import CommandFailed

CONTENT_TYPES: Mapping[str, str] = {
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".mp4": "audio/mp4",
    ".m4a": "audio/mp4",
    ".ogg": "audio/ogg",
    ".flac": "audio/flac",
    ".webm": "audio/webm",
    ".aac": "audio/aac",
}


def is_recording(path: Path) -> bool:
    """Whether the name says so."""
    return path.suffix.lower() in CONTENT_TYPES


def content_type_of(path: Path) -> str:
    """The MIME type that a recording is announced with. Raises CommandFailed for other files."""
    try:
        return CONTENT_TYPES[path.suffix.lower()]
    except KeyError:
        raise CommandFailed(f"{path} is none of {', '.join(sorted(CONTENT_TYPES))}") from None


def sent_name(path: Path) -> str:
    """The name that a recording is sent under: accents in the form that servers keep, not in that of some file systems."""
    return unicodedata.normalize("NFC", path.name)


def files_below(folder: Path) -> list[Path]:
    """Every file at any depth, in order of name; what starts with a dot is passed over."""
    hidden = (path for path in folder.rglob("*") if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    return sorted(path for path in hidden if path.is_file())


def check_recordings(folder: Path, recordings: Sequence[Path]) -> None:
    """Raises CommandFailed when there is none, when one is empty, or when names are not unique."""
    if not recordings:
        raise CommandFailed(f"{folder} holds no recording ({', '.join(sorted(CONTENT_TYPES))})")
    twice = [name for name, count in Counter(map(sent_name, recordings)).items() if count > 1]
    if twice:
        raise CommandFailed(f"{folder} holds several recordings named {', '.join(twice)}: rename them, a dataset knows them by name")
    empty = [str(path) for path in recordings if not path.stat().st_size]
    if empty:
        raise CommandFailed(f"empty: {', '.join(empty)}")
