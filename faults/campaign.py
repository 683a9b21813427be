"""What a campaign is given and what it tells."""

import ast
import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, cast

from faults import campaigns

DatabaseKind = Literal["sqlite", "postgresql"]


@dataclass(frozen=True)
class Options:
    """seed: the same seed makes the same choices; count: how much a campaign does, instead of what short or long means there."""

    folder: Path
    seed: int = 1
    long: bool = False
    database: DatabaseKind = "sqlite"
    count: int | None = None

    def amount(self, short: int, long: int) -> int:
        """The count asked for, else the campaign's own for this length."""
        return self.count if self.count is not None else long if self.long else short


@dataclass(frozen=True)
class Figure:
    """One line of a campaign's result: a value, and the bound that it must keep."""

    name: str
    value: float
    at_most: float | None = None
    at_least: float | None = None
    unit: str = ""

    @property
    def holds(self) -> bool:
        """Whether the value keeps its bounds; a figure without one only tells."""
        return (self.at_most is None or self.value <= self.at_most) and (self.at_least is None or self.value >= self.at_least)


class Skipped(Exception):
    """This machine does not allow the campaign; the message says what is missing."""


class Campaign(Protocol):
    """A module of `faults.campaigns`; the first line of its docstring says what it does."""

    def run(self, options: Options) -> Sequence[Figure]:
        """Do it. Raises Skipped; AssertionError names the seed's first broken promise."""
        ...


def names() -> list[str]:
    """Every campaign, in order of its name."""
    return sorted(module.name for module in pkgutil.iter_modules(campaigns.__path__))


def summary(name: str) -> str:
    """What the campaign does, read from its source: to import all of them takes a while."""
    source = Path(campaigns.__path__[0], f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def find(name: str) -> Campaign:
    """The campaign of this name."""
    return cast("Campaign", importlib.import_module(f"faults.campaigns.{name}"))
