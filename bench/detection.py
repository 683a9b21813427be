"""A detector trained on generated recordings and tried on another voice, beside one rule per type."""

import asyncio
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.benchmark import Effort
from bench.report import Row, Target, no_more_than
from bench.rules import best_rules, ruled
from services.detection.detections import Detection, detections_of
from services.detection.features import Features, features
from services.detection.metrics import Counts, event_based, macro, segment_based
from services.inference.models.detector import DetectorModel
from services.inference.training.material import Floats, open_material
from services.inference.training.order import read_files
from tools.detection.carriers import TEST_VOICES, TRAINING_VOICES
from tools.detection.folder import write_folder
from tools.detection.generate import recordings
from tools.detection.recording import ARTIFACT_TYPES, Recording

_FILE_SECONDS = 120.0
_TEST_FILES = 6
_TRAINING_SEED, _TEST_SEED = 1, 2
_TRAINING_LIMIT_SECONDS = 1_800.0
_THRESHOLD, _MERGE_WINDOW_MS, _MIN_DURATION_MS = 0.5, 200, 50

Score = Callable[[Features], Floats]


@dataclass(frozen=True)
class Trial:
    """What one contender found in the test recordings. rate: seconds of audio per second, from samples to detections."""

    events: Mapping[str, Counts]
    segments: Mapping[str, Counts]
    rate: float


async def run(effort: Effort, folder: Path) -> Sequence[Row]:
    """Half an hour to learn from, 12 minutes to judge by; a sixth of that to learn from in the short form."""
    return await asyncio.to_thread(_measured, round(effort.speech_seconds * 3 / _FILE_SECONDS), folder)


def _measured(files: int, folder: Path) -> Sequence[Row]:
    write_folder(folder, recordings(TRAINING_VOICES, files, _FILE_SECONDS, _TRAINING_SEED, varied=True))
    wall_seconds, processor_seconds, done = _trained(folder)
    test = recordings(TEST_VOICES, _TEST_FILES, _FILE_SECONDS, _TEST_SEED)
    rules = best_rules(open_material(read_files(folder), ARTIFACT_TYPES))
    subject, baseline = _tried(DetectorModel(Path(done["model"])).score, test), _tried(lambda rows: ruled(rows, rules), test)
    minutes = round(files * _FILE_SECONDS / 60)
    return [
        Row(f"training on {minutes} minutes", "s", wall_seconds, target=no_more_than(300.0)),
        Row(f"training on {minutes} minutes, processor time", "s", processor_seconds),
        Row("event-based F1 of the held-out files, as the training tells it", "", done["eval_metrics"]["f1_score"]),
        _row("event-based F1 of another voice", macro(subject.events).f1_score, macro(baseline.events).f1_score, 0.8),
        *(_row(f"  {name}", subject.events[name].f1_score, baseline.events[name].f1_score) for name in ARTIFACT_TYPES),
        _row("segment-based F1 of another voice", macro(subject.segments).f1_score, macro(baseline.segments).f1_score),
        _row("seconds of audio per second of one core", subject.rate, baseline.rate, 50.0),
    ]


def _row(name: str, subject: float, baseline: float, bound: float | None = None) -> Row:
    target = None if bound is None else Target(bound, at_least=True, of_subject=True)
    return Row(name, "", subject, baseline, subject / baseline if baseline else None, target)


def _trained(folder: Path) -> tuple[float, float, dict[str, Any]]:
    """Wall and processor seconds of the training, and what it ended with."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "services.inference.training", str(folder)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_TRAINING_LIMIT_SECONDS).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    done: dict[str, Any] = json.loads(said.splitlines()[-1])["done"]
    return time.perf_counter() - started, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done


def _tried(score: Score, test: Sequence[Recording]) -> Trial:
    """Processor time, so that what else runs does not count."""
    started = time.thread_time()
    found = [_detected(score, recording) for recording in test]
    rate = sum(len(recording.pcm) for recording in test) / 16_000 / (time.thread_time() - started)
    pairs = list(zip(test, found, strict=True))
    events, segments = (
        [counting(recording.labels, seen, ARTIFACT_TYPES) for recording, seen in pairs] for counting in (event_based, segment_based)
    )
    return Trial(_summed(events), _summed(segments), rate)


def _detected(score: Score, recording: Recording) -> list[Detection]:
    scores = score(features(recording.pcm))
    return detections_of(scores, ARTIFACT_TYPES, _THRESHOLD, _MERGE_WINDOW_MS, _MIN_DURATION_MS, len(recording.pcm) // 16)


def _summed(counts: Sequence[Mapping[str, Counts]]) -> dict[str, Counts]:
    return {name: sum((each[name] for each in counts), Counts()) for name in ARTIFACT_TYPES}
