"""What a benchmark says: medians of interleaved rounds, ratios, targets, one table."""

import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console
from rich.table import Table

T = TypeVar("T")


@dataclass(frozen=True)
class Target:
    """A bound on a row's ratio, or on its subject where `of_subject`."""

    bound: float
    at_least: bool
    of_subject: bool = False

    def met(self, value: float) -> bool:
        """True when the value is on the right side of the bound."""
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True)
class Row:
    """One figure. ratio: subject to baseline; None where there is nothing to compare with."""

    name: str
    unit: str
    subject: float
    baseline: float | None = None
    ratio: float | None = None
    target: Target | None = None

    @property
    def verdict(self) -> str:
        """ok, below, or nothing without a target."""
        if self.target is None:
            return ""
        value = self.subject if self.target.of_subject else self.ratio
        if value is None:
            raise ValueError(f"{self.name} has a target for a ratio and no baseline")
        return "ok" if self.target.met(value) else "below"


def at_least(bound: float) -> Target:
    """The ratio is at least this."""
    return Target(bound, at_least=True)


def at_most(bound: float) -> Target:
    """The ratio is at most this."""
    return Target(bound, at_least=False)


def no_more_than(bound: float) -> Target:
    """The subject itself, in its unit, is at most this."""
    return Target(bound, at_least=False, of_subject=True)


def compared(name: str, unit: str, subject: Sequence[float], baseline: Sequence[float], target: Target | None = None) -> Row:
    """Two contenders of the same rounds: their medians, and the median of the rounds' ratios."""
    return Row(name, unit, statistics.median(subject), statistics.median(baseline), paired_ratio(subject, baseline), target)


def single(name: str, unit: str, values: Sequence[float], target: Target | None = None) -> Row:
    """The median of one contender's rounds."""
    return Row(name, unit, statistics.median(values), target=target)


def paired_ratio(subject: Sequence[float], baseline: Sequence[float]) -> float:
    """Median of the ratios round by round: a slow minute slows both sides of its round. Raises ValueError on unequal lengths."""
    return statistics.median(one / other for one, other in zip(subject, baseline, strict=True))


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; share in (0, 1]. Raises ValueError without values."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    rank = -(-len(ordered) * share // 1)
    return ordered[max(0, int(rank) - 1)]


async def interleaved(rounds: int, contenders: Mapping[str, Callable[[], Awaitable[T]]]) -> dict[str, list[T]]:
    """Every contender's results, one a round; the order turns by one place each round, so that none always runs first."""
    names = list(contenders)
    results: dict[str, list[T]] = {name: [] for name in names}
    for turn in range(rounds):
        start = turn % len(names)
        for name in [*names[start:], *names[:start]]:
            results[name].append(await contenders[name]())
    return results


def show(title: str, rows: Sequence[Row], console: Console) -> None:
    """Print the rows as a table."""
    table = Table(title=title, title_justify="left")
    table.add_column("figure")
    for heading in ("measured", "baseline", "ratio", "target", ""):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*cells(row))
    console.print(table)


def cells(row: Row) -> tuple[str, str, str, str, str, str]:
    """The row as text."""
    baseline = "" if row.baseline is None else _with_unit(row.baseline, row.unit)
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    return row.name, _with_unit(row.subject, row.unit), baseline, ratio, _target(row), row.verdict


def _target(row: Row) -> str:
    if row.target is None:
        return ""
    sign = "≥" if row.target.at_least else "≤"
    return f"{sign} {_with_unit(row.target.bound, row.unit)}" if row.target.of_subject else f"{sign} {row.target.bound:g}"


def _with_unit(value: float, unit: str) -> str:
    number = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{number} {unit}"
