"""Where a model comes from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from services.inference.models.catalogue.manifest import Manifest

Told = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class OfferedFile:
    """A file that can be had. etag: SHA-256, or git's hash of a small one, or empty where the source knows neither."""

    size: int
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a source has. manifest: where the source is itself a models directory of Steno's."""

    source: str
    revision: str
    licence: str
    files: Mapping[str, OfferedFile] = field(default_factory=dict)
    manifest: Manifest | None = None


class Source(Protocol):
    """The hub, or a folder."""

    def offer(self) -> Offer:
        """What there is. Raises CommandFailed."""

    def fetch(self, offer: Offer, name: str, target: Path, told: Told) -> None:
        """Have the file at the target, whole and as offered; `told` hears how many bytes are there. Raises CommandFailed."""
