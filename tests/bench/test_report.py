import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from rich.console import Console

from bench.__main__ import BENCHMARKS
from bench.report import Row, at_least, at_most, cells, compared, interleaved, no_more_than, paired_ratio, percentile, show, single

ROOT = Path(__file__).resolve().parents[2]


def test_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    # The second round ran on a machine ten times slower: it must not count for one side only.
    assert paired_ratio([50, 5, 40], [100, 10, 100]) == 0.5


def test_rounds_that_do_not_pair_up_are_refused() -> None:
    with pytest.raises(ValueError):
        paired_ratio([1, 2], [1])


def test_row_shows_both_medians_beside_the_paired_ratio() -> None:
    row = compared("upload", "MB/s", [50, 5, 40], [100, 10, 100], at_least(0.4))
    assert (row.subject, row.baseline, row.ratio, row.verdict) == (40, 100, 0.5, "ok")


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (compared("rate", "/s", [60], [100], at_least(0.6)), "ok"),
        (compared("rate", "/s", [59], [100], at_least(0.6)), "below"),
        (compared("p99", "ms", [4], [1], at_most(4)), "ok"),
        (compared("p99", "ms", [5], [1], at_most(4)), "below"),
        (compared("memory", "MB", [449], [30], no_more_than(450)), "ok"),
        (single("memory", "MB", [451], no_more_than(450)), "below"),
        (single("p50", "ms", [1]), ""),
    ],
)
def test_verdict_is_about_the_ratio_or_the_figure_itself(row: Row, verdict: str) -> None:
    assert row.verdict == verdict


def test_target_for_a_ratio_needs_a_baseline() -> None:
    with pytest.raises(ValueError):
        _ = single("rate", "/s", [1], at_least(0.6)).verdict


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_percentile_is_the_nearest_rank(share: float, expected: int) -> None:
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError):
        percentile([], 0.5)


async def test_every_contender_runs_once_a_round_and_none_always_first() -> None:
    ran: list[str] = []

    def contender(name: str) -> Callable[[], Awaitable[int]]:
        async def run() -> int:
            ran.append(name)
            return len(ran)

        return run

    results = await interleaved(3, {name: contender(name) for name in "abc"})
    assert "".join(ran) == "abcbcacab"
    assert results == {"a": [1, 6, 8], "b": [2, 4, 9], "c": [3, 5, 7]}


def test_table_shows_target_and_verdict_beside_the_figures() -> None:
    console = Console(record=True, width=140)
    show("upload", [compared("PUT", "MB/s", [150], [100], at_least(0.4))], console)
    line = next(line for line in console.export_text().splitlines() if "PUT" in line)
    assert [cell.strip() for cell in line.strip("│").split("│")] == ["PUT", "150 MB/s", "100 MB/s", "1.50", "≥ 0.4", "ok"]


def test_target_of_the_figure_itself_carries_its_unit() -> None:
    assert cells(single("ready", "s", [5.25], no_more_than(6)))[4:] == ("≤ 6 s", "ok")


def test_list_names_every_benchmark() -> None:
    listed = subprocess.run([sys.executable, "-m", "bench", "--list"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in listed.stdout.splitlines()] == [benchmark.name for benchmark in BENCHMARKS]


def test_unknown_benchmark_is_refused_with_the_names_that_exist() -> None:
    refused = subprocess.run([sys.executable, "-m", "bench", "--only", "nothing"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert all(benchmark.name in refused.stderr for benchmark in BENCHMARKS)
