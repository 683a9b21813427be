"""A folder that somebody filled: in Hugging Face layout, as its library's cache, or from another models directory of Steno's."""

import re
from pathlib import Path

from services.client.failures import CommandFailed
from services.inference.models.catalogue.checkpoint import NEEDED
from services.inference.models.catalogue.errors import ModelBroken
from services.inference.models.catalogue.known import Reference
from services.inference.models.catalogue.manifest import MANIFEST_FILE, Manifest, read_manifest
from services.models_cli.digests import is_as_offered
from services.models_cli.source import Offer, OfferedFile, Told

_BLOCK_BYTES = 8 << 20
_CARD_FILE = "README.md"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LICENCE = re.compile(r"^license:\s*[\"']?([^\s\"']+)", re.MULTILINE)


class FolderSource:
    """One folder. source, revision: what it is a copy of, where that is known."""

    def __init__(self, folder: Path, source: str = "", revision: str = "") -> None:
        self._folder = folder
        self._source = source or str(folder)
        self._revision = revision

    def offer(self) -> Offer:
        """Raises CommandFailed."""
        files = {path.name: OfferedFile(path.stat().st_size) for path in self._folder.iterdir() if path.is_file()}
        manifest = self._manifest()
        if manifest is None:
            return Offer(self._source, self._revision, self._licence(), files)
        known = {name: OfferedFile(record.size, record.sha256) for name, record in manifest.files.items()}
        return Offer(manifest.source, manifest.revision, manifest.licence, known, manifest)

    def fetch(self, offer: Offer, name: str, target: Path, told: Told) -> None:
        """Raises CommandFailed."""
        copy(self._folder / name, target, told)
        file = offer.files[name]
        if not is_as_offered(target, file.size, file.etag):
            raise CommandFailed(f"{self._folder / name} is not the file that its {MANIFEST_FILE} tells of: copy the folder anew")

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self._folder

    def _licence(self) -> str:
        """What the model card's head says."""
        card = self._folder / _CARD_FILE
        head = card.read_text(encoding="utf-8", errors="replace").partition("\n---")[0] if card.is_file() else ""
        found = _LICENCE.search(head)
        return found.group(1) if found else "unknown"

    def _manifest(self) -> Manifest | None:
        if not (self._folder / MANIFEST_FILE).is_file():
            return None
        try:
            return read_manifest(self._folder)
        except ModelBroken as error:
            raise CommandFailed(str(error)) from error


def copy(origin: Path, target: Path, told: Told) -> None:
    """Copy a file, telling how far it is. Raises CommandFailed where the origin cannot be read."""
    try:
        source = origin.open("rb")
    except OSError as error:
        raise CommandFailed(f"{origin} cannot be read: {error.strerror}") from error
    there = 0
    with source, target.open("wb") as file:
        while block := source.read(_BLOCK_BYTES):
            file.write(block)
            there += len(block)
            told(there)


def find_in(directory: Path, reference: Reference, revision: str) -> FolderSource:
    """The model in a folder of models: a cache of the hub's library, `owner/name`, or the name alone. Raises CommandFailed."""
    if reference.repository is not None:
        for cache in (directory, directory / "hub"):
            snapshot = find_snapshot(cache, reference.repository, revision)
            if snapshot is not None:
                return FolderSource(snapshot, reference.repository, snapshot.name)
    names = [reference.name, *([reference.repository, Path(reference.repository).name] if reference.repository else ())]
    for name in names:
        if (directory / name / NEEDED[0]).is_file():
            return FolderSource(directory / name, reference.repository or "", revision if _COMMIT.fullmatch(revision) else "")
    tried = ", ".join([*(str(directory / name) for name in names), *([f"{directory}/models--*"] if reference.repository else ())])
    raise CommandFailed(f"{reference.repository or reference.name} is not in {directory} (looked for {tried})")


def find_snapshot(cache: Path, repository: str, revision: str) -> Path | None:
    """The files of a revision in a cache of the hub's library."""
    from huggingface_hub import try_to_load_from_cache

    if not cache.is_dir():
        return None
    found = try_to_load_from_cache(repository, NEEDED[0], cache_dir=cache, revision=revision or None)
    return Path(found).parent if isinstance(found, str) else None
