"""Edits of the product's source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class Misplaced(Exception):
    """An edit does not fit the source any more: its old text is not there exactly once."""


@dataclass(frozen=True)
class Edit:
    """One replacement in a file. path: below the repository; old: found exactly once."""

    path: str
    old: str
    new: str


def edited(root: Path, edits: Sequence[Edit], whose: str) -> Mapping[str, str]:
    """The files that edits change, as they are after all of them. Raises Misplaced with the name of whose edits they are."""
    sources: dict[str, str] = {}
    for edit in edits:
        source = sources.get(edit.path) or (root / edit.path).read_text(encoding="utf-8")
        if (count := source.count(edit.old)) != 1:
            raise Misplaced(f"{whose}: {count} places instead of one in {edit.path} for:\n{edit.old}")
        sources[edit.path] = source.replace(edit.old, edit.new)
    return sources


@dataclass(frozen=True)
class Mechanism:
    """A mechanism that hides a defect by putting right what it does; switched off by edits, it hides nothing."""

    name: str
    edits: Sequence[Edit]
