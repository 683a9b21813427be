"""What a backup says of itself: which version made it, at which revisions the databases were, and the digest of every file."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

FORMAT = 1
NAME = "manifest.json"
_PIECE_BYTES = 1024 * 1024


class BackupUnusable(Exception):
    """The backup is damaged, or made by a newer version; the message says which."""


@dataclass(frozen=True)
class Manifest:
    """revisions: by service. databases: 'sqlite' or 'postgresql', by service. bucket: where the blobs stay, if not in here.

    files: size and SHA-256 of each, by path. models: what was installed, to be installed again.
    """

    version: str
    create_time: str
    revisions: Mapping[str, str]
    databases: Mapping[str, str]
    bucket: str
    has_keys: bool
    models: tuple[str, ...]
    files: Mapping[str, tuple[int, str]]
    format: int = FORMAT
    digest: str = field(default="", compare=False)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Last of all: a folder without one is no backup."""
    content = {**asdict(manifest), "digest": ""}
    content["digest"] = _digest_of(content)
    (folder / NAME).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Raises BackupUnusable."""
    try:
        content = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackupUnusable(f"{folder} holds no backup: {NAME} cannot be read ({error})") from error
    if content.get("format") != FORMAT:
        raise BackupUnusable(f"{folder} has format {content.get('format')}; this version reads {FORMAT}")
    if content["digest"] != _digest_of({**content, "digest": ""}):
        raise BackupUnusable(f"{folder / NAME} was changed after it was written")
    files = {path: (size, digest) for path, (size, digest) in content["files"].items()}
    return Manifest(**{**content, "files": files, "models": tuple(content["models"])})


def check_files(folder: Path, manifest: Manifest) -> None:
    """Raises BackupUnusable with the first files that are missing or differ."""
    wrong = [path for path, known in manifest.files.items() if not _is_same(folder / path, known)]
    if wrong:
        raise BackupUnusable(f"{len(wrong)} of {len(manifest.files)} files are missing or damaged: {', '.join(sorted(wrong)[:5])}")


def _is_same(path: Path, known: tuple[int, str]) -> bool:
    return path.is_file() and path.stat().st_size == known[0] and describe(path) == known


def describe(path: Path) -> tuple[int, str]:
    """Size and SHA-256 of a file."""
    with path.open("rb") as file:
        return path.stat().st_size, digest_of(file)


def digest_of(file: IO[bytes]) -> str:
    """SHA-256 of what is left of the file, in hexadecimal."""
    digest = hashlib.sha256()
    while piece := file.read(_PIECE_BYTES):
        digest.update(piece)
    return digest.hexdigest()


def _digest_of(content: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
