"""`steno.json`: what a model folder holds, written last, so that a folder without it holds no model."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from services.inference.models.catalogue.errors import ModelBroken
from services.inference.models.whisper.precision import GRAPHS_VERSION, Precision, graphs_folder

MANIFEST_FILE = "steno.json"
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file of the checkpoint. size: in bytes."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a model is and which files it has.

    source: id on the hub or folder it came from. revision: commit, empty where there is none. exports: digests of the graph files by
    precision and path. graphs_version: that of the exports. test: made to test Steno, of no use for real speech.
    """

    name: str
    source: str
    revision: str
    licence: str
    languages: tuple[str, ...]
    translates: bool
    files: Mapping[str, FileRecord]
    exports: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    graphs_version: int = GRAPHS_VERSION
    test: bool = False

    def with_export(self, precision: Precision, files: Mapping[str, str]) -> "Manifest":
        """With the graphs of one precision; those that an older Steno exported are forgotten."""
        return replace(self, exports={**self.without_export(precision).exports, precision.value: files}, graphs_version=GRAPHS_VERSION)

    def without_export(self, precision: Precision) -> "Manifest":
        """Without the graphs of one precision."""
        kept = self.exports if self.graphs_version == GRAPHS_VERSION else {}
        return replace(self, exports={name: files for name, files in kept.items() if name != precision}, graphs_version=GRAPHS_VERSION)


def read_manifest(folder: Path) -> Manifest:
    """Raises ModelBroken."""
    path = folder / MANIFEST_FILE
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        files = {_plain(name): FileRecord(**record) for name, record in found.pop("files").items()}
        exports = {precision: {_plain(path): sha256 for path, sha256 in paths.items()} for precision, paths in found.pop("exports").items()}
        return Manifest(files=files, exports=exports, languages=tuple(found.pop("languages")), **found)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelBroken(f"{path} cannot be read ({error}); remove {folder} and pull the model again") from error


def _plain(path: str) -> str:
    """A path that stays below its folder: manifests come along with folders of anybody. Raises ValueError."""
    parsed = PurePosixPath(path)
    if "\0" in path or parsed.is_absolute() or not parsed.parts or ".." in parsed.parts:
        raise ValueError(f"{path!r} is not a path below the folder")
    return path


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the folder's manifest at one stroke."""
    new = folder / f".{MANIFEST_FILE}.new"
    with new.open("w", encoding="utf-8") as file:
        json.dump(asdict(manifest), file, ensure_ascii=False, indent=2)
        file.flush()
        os.fsync(file.fileno())
    new.replace(folder / MANIFEST_FILE)


def record_files(folder: Path, names: Iterable[str]) -> dict[str, FileRecord]:
    """Sizes and digests of files below a folder."""
    return {name: FileRecord((folder / name).stat().st_size, digest(folder / name)) for name in sorted(names)}


def record_export(folder: Path, precision: Precision) -> dict[str, str]:
    """Digests of the graph files of one precision, by their paths below the model's folder."""
    return {str(path.relative_to(folder)): digest(path) for path in sorted(graphs_folder(folder, precision).iterdir())}


def digest(path: Path) -> str:
    """SHA-256 in hexadecimal."""
    hashed = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            hashed.update(block)
    return hashed.hexdigest()
