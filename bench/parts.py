"""A batch of windows in parts, one on each core, beside the same batch with every product on all cores."""

import asyncio
import os
import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.asr.checkpoint import SIZES, write_checkpoint
from bench.benchmark import Effort
from bench.report import Row, at_most, compared, interleaved
from bench.speech import MEETING
from services.inference.models.catalogue.bundled import BUNDLED_FOLDER
from services.inference.models.whisper.export.export import export_whisper
from services.inference.models.whisper.model import WhisperRequest, load_whisper
from services.inference.models.whisper.parallel import BatchWhisper, ParallelWhisper
from services.inference.models.whisper.precision import Precision
from services.inference.models.whisper.prompts import Task
from services.inference.pcm import SAMPLE_RATE_HZ, Pcm
from tools.speech.audio import read_audio

_LARGEST_BATCH = 8
# Random weights talk until their limit: after so much audio that is as many tokens as in a window of speech.
_RANDOM_SECONDS = 3
_WINDOW_SECONDS = 26


async def run(effort: Effort, folder: Path) -> Sequence[Row]:
    """Milliseconds per window from samples to words, of a model that is small enough to go in parts."""
    samples, threads = read_audio(MEETING), len(os.sched_getaffinity(0))
    spoken = shutil.copytree(BUNDLED_FOLDER, folder / "test")
    rows = await _rows(effort, f"test Whisper fp32, {threads} threads", spoken, Precision.FP32, samples[: _WINDOW_SECONDS * SAMPLE_RATE_HZ])
    for size in ("tiny", "base"):
        random = write_checkpoint(folder / size, SIZES[size])
        rows += await _rows(effort, f"{size} int8, {threads} threads", random, Precision.INT8, samples[: _RANDOM_SECONDS * SAMPLE_RATE_HZ])
    return rows


async def _rows(effort: Effort, name: str, model: Path, precision: Precision, window: Pcm) -> list[Row]:
    export_whisper(model, precision)
    threads = len(os.sched_getaffinity(0))
    whole, single = (load_whisper(model, precision, threads=count) for count in (threads, 1))
    request = WhisperRequest(window, Task(whole.languages[0]))
    found = []
    for size in sorted({min(threads, _LARGEST_BATCH), _LARGEST_BATCH}):
        batch = [request] * size
        contenders = {
            "parts": partial(_ms_per_window, ParallelWhisper(whole, single, threads), batch),
            "whole": partial(_ms_per_window, whole, batch),
        }
        times = await interleaved(effort.rounds, contenders)
        found.append(compared(f"{name}, {size} windows in parts : whole", "ms per window", times["parts"], times["whole"], at_most(1.0)))
    return found


async def _ms_per_window(model: BatchWhisper, batch: Sequence[WhisperRequest]) -> float:
    started = time.monotonic()
    results = await asyncio.to_thread(model.transcribe_once, batch)
    assert len({result.tokens for result in results if result}) == 1, "the words depend on the part"
    return (time.monotonic() - started) * 1000 / len(batch)
