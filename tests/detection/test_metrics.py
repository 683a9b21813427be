"""The counts of DCASE, beside sed_eval's own."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from services.detection.detections import Detection
from services.detection.metrics import Counts, Event, event_based, macro, segment_based

REFERENCE = json.loads((Path(__file__).parent / "data" / "sed_eval.json").read_text())
TYPES = ("click", "hum", "pause")
Counting = Callable[[Sequence[Event], Sequence[Event], Sequence[str]], dict[str, Counts]]
KINDS: Mapping[str, Counting] = {"event": event_based, "segment": segment_based}


def events(rows: Sequence[tuple[str, int, int]]) -> list[Event]:
    """Rows of type, start and end."""
    return [Detection(name, start, end, 1.0) for name, start, end in rows]


def figures(counts: Counts) -> dict[str, float | None]:
    """As sed_eval tells them: nothing where nothing is divided by nothing."""
    return {
        "precision": counts.precision if counts.found else None,
        "recall": counts.recall if counts.expected else None,
        "f_measure": counts.f1_score if counts.expected and counts.found else None,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_random_events_score_as_sed_eval_scores_them(kind: str) -> None:
    seen = 0
    for case in REFERENCE:
        counted = KINDS[kind](events(case["reference"]), events(case["found"]), TYPES)
        for name in TYPES:
            expected: dict[str, Any] = case[kind][name]
            for figure, value in figures(counted[name]).items():
                assert (value, expected[figure]) == (None, None) or value == pytest.approx(expected[figure] or 0.0), (case, name, figure)
                seen += value is not None
    assert seen > 200


def test_one_detection_is_worth_one_event() -> None:
    """Two events within the collar of one detection: one is found."""
    counted = event_based(events([("click", 1_000, 1_020), ("click", 1_150, 1_170)]), events([("click", 1_100, 1_160)]), TYPES)
    assert counted["click"] == Counts(right=1, expected=2, found=1)


def test_pairs_are_as_many_as_can_be() -> None:
    """The nearest partner first would leave one event alone."""
    counted = event_based(
        events([("hum", 1_000, 2_000), ("hum", 1_250, 2_000)]), events([("hum", 1_150, 2_000), ("hum", 1_400, 2_000)]), TYPES
    )
    assert counted["hum"] == Counts(right=2, expected=2, found=2)


@pytest.mark.parametrize(("shift_ms", "right"), [(-201, 0), (-200, 1), (200, 1), (201, 0)])
def test_the_collar_is_200_ms_to_each_side(shift_ms: int, right: int) -> None:
    counted = event_based(events([("hum", 1_000, 2_000)]), events([("hum", 1_000 + shift_ms, 1_500)]), TYPES)
    assert counted["hum"].right == right


def test_counts_of_recordings_add_up() -> None:
    total = Counts(1, 2, 4) + Counts(2, 2, 2)
    assert (total.precision, total.recall, total.f1_score) == (0.5, 0.75, 0.6)


def test_a_type_that_is_nowhere_is_no_part_of_the_mean() -> None:
    means = macro({"click": Counts(1, 1, 1), "hum": Counts(0, 1, 0), "pause": Counts()})
    assert (means.precision, means.recall, means.f1_score) == (0.5, 0.5, 0.5)
    assert macro({"click": Counts()}).f1_score == 0.0
