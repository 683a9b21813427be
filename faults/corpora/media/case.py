"""One hostile file and what must become of it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"


class Outcome(StrEnum):
    """What becomes of a file; the first four are refused at submit."""

    EMPTY = "EMPTY_MEDIA"
    UNSUPPORTED = "UNSUPPORTED_MEDIA"
    BROKEN = "BROKEN_MEDIA"
    TOO_LONG = "MEDIA_TOO_LONG"
    FAILED = "failed"
    DONE = "done"
    TRUNCATED = "truncated"


EMPTY = (Outcome.EMPTY,)
UNSUPPORTED = (Outcome.UNSUPPORTED,)
BROKEN = (Outcome.BROKEN,)
REFUSED = (Outcome.BROKEN, Outcome.UNSUPPORTED)
TOO_LONG = (Outcome.TOO_LONG,)
DONE = (Outcome.DONE,)
TRUNCATED = (Outcome.TRUNCATED,)
HEARD = (Outcome.DONE, Outcome.TRUNCATED)


@dataclass(frozen=True)
class Case:
    """expected: more than one only where the bytes leave it open; duration_ms: of what decodes, None where any will do."""

    name: str
    data: bytes = field(repr=False)
    expected: tuple[Outcome, ...]
    duration_ms: int | None = None
    tolerance_ms: int = 120
    filename: str = "recording.bin"
    slow: bool = False


@dataclass(frozen=True)
class Sources:
    """The speech, its length, and its bytes in each form; `mp4_video` has pictures beside it."""

    duration_ms: int
    forms: dict[str, bytes]


@dataclass(frozen=True)
class Bait:
    """What the lures point at: a port on which TCP and UDP are listened to, and a real WAV."""

    port: int
    sibling: Path

    @property
    def address(self) -> str:
        """A URL of the listener."""
        return f"http://127.0.0.1:{self.port}/segment.ts"


@dataclass(frozen=True)
class Specimen:
    """A case whose bytes lie in a file."""

    kind: str
    name: str
    path: Path
    expected: tuple[Outcome, ...]
    duration_ms: int | None
    tolerance_ms: int
    filename: str
    slow: bool

    def fits(self, duration_ms: int) -> bool:
        """Whether this length may be found."""
        return self.duration_ms is None or abs(duration_ms - self.duration_ms) <= self.tolerance_ms

    def to_json(self) -> dict[str, Any]:
        """A row of the manifest."""
        return {**asdict(self), "path": str(self.path)}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Specimen":
        """The row back."""
        return cls(**{**row, "path": Path(row["path"]), "expected": tuple(Outcome(name) for name in row["expected"])})


def load(folder: Path) -> list[Specimen]:
    """The corpus that `faults.corpora.media.write` has written to the folder."""
    return [Specimen.from_json(row) for row in json.loads((folder / MANIFEST).read_text())]
