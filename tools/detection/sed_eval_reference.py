"""What sed_eval says of random events, for the tests: `python -m tools.detection.sed_eval_reference`.

sed_eval (0.2.1) wants `setuptools<81` and brings librosa and numba: it runs in an environment of its own, its answers are kept in
tests/detection/data.
"""

import json
import random
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[2] / "tests" / "detection" / "data" / "sed_eval.json"
ARTIFACT_TYPES = ("click", "hum", "pause")
CASES = 40
SEED = 16
_LONGEST_MS = 20_000

Spans = list[tuple[str, int, int]]


def main() -> None:
    """Write the cases with their answers."""
    source = random.Random(SEED)  # noqa: S311
    cases = [_case(source) for _ in range(CASES)]
    TARGET.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


def _case(source: random.Random) -> dict[str, Any]:
    reference = _events(source, source.randint(1, 12))
    found = [*_shifted(source, reference), *_events(source, source.randint(0, 5))]
    return {"reference": reference, "found": found, "event": _answers(reference, found, False), "segment": _answers(reference, found, True)}


def _events(source: random.Random, count: int) -> Spans:
    starts = [source.randrange(_LONGEST_MS) for _ in range(count)]
    return sorted((source.choice(ARTIFACT_TYPES), start, start + source.randint(20, 2_000)) for start in starts)


def _shifted(source: random.Random, events: Spans) -> Spans:
    """Most of the events, moved a little."""
    kept = [event for event in events if source.random() < 0.8]
    moved = [(name, max(0, start + source.randint(-300, 300)), end) for name, start, end in kept]
    return [(name, start, max(start + 20, end)) for name, start, end in moved]


def _answers(reference: Spans, found: Spans, by_segment: bool) -> dict[str, dict[str, float | None]]:
    sound = import_module("sed_eval").sound_event
    metrics = (
        sound.SegmentBasedMetrics(event_label_list=list(ARTIFACT_TYPES), time_resolution=1.0)
        if by_segment
        else sound.EventBasedMetrics(event_label_list=list(ARTIFACT_TYPES), t_collar=0.2, evaluate_onset=True, evaluate_offset=False)
    )
    metrics.evaluate(_container(reference), _container(found))
    return {name: _figures(result["f_measure"]) for name, result in metrics.results_class_wise_metrics().items()}


def _container(events: Spans) -> Any:
    return import_module("dcase_util").containers.MetaDataContainer(
        [{"filename": "audio.wav", "event_label": name, "onset": start / 1_000, "offset": end / 1_000} for name, start, end in events]
    )


def _figures(values: dict[str, float]) -> dict[str, float | None]:
    """NaN, which sed_eval answers where nothing is divided by nothing, as null."""
    wanted: Sequence[str] = ("precision", "recall", "f_measure")
    return {name: None if values[name] != values[name] else round(float(values[name]), 9) for name in wanted}


if __name__ == "__main__":
    main()
