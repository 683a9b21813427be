"""A long job through the mesh beside what its engine does for it: the same calls to the same Triton, and nothing else."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.benchmark import Effort
from bench.report import Row, at_most, compared, interleaved
from bench.speech import long_meeting, mesh_on_triton
from services.inference.audio import Audio
from services.inference.diarization.spans import embedding_spans
from services.inference.engines.engine import WindowParameters
from services.inference.engines.triton.engine import TritonEngine, open_triton_engine
from services.inference.models.vad_state import VadState, gain_for
from services.inference.pcm import Floats, duration_ms, loud_level_dbfs
from services.inference.settings import InferenceSettings
from services.inference.speakers import embed_spans
from services.inference.windows import FRAME_MS, Region, Window, find_regions, plan_windows
from tests.e2e.mesh import Mesh

_PIECE_MS = 4096 * FRAME_MS
_JOB_SECONDS = 3_600.0


async def run(effort: Effort, folder: Path) -> Sequence[Row]:
    """Seconds for a meeting of ten minutes, or of two and a half when short, with speakers."""
    path, samples = long_meeting(folder / "meeting.flac", effort.speech_seconds)
    audio = Audio(samples, duration_ms(samples), truncated=False)
    with mesh_on_triton(folder) as mesh:
        settings = InferenceSettings(engine="triton", triton_address=mesh.ready["triton"]["grpc"])
        async with open_triton_engine(settings) as engine:
            bare = _Bare(engine, audio)
            contenders = {"job": _Job(mesh, path).seconds, "in turn": bare.in_turn, "side by side": bare.side_by_side}
            await bare.in_turn()
            seconds = await interleaved(effort.rounds, contenders)
    name = f"{effort.speech_seconds:.0f} s of speech, submit to done : the engine's calls alone"
    return [
        compared(name, "s", seconds["job"], seconds["in turn"], at_most(1.05)),
        compared(f"{name}, words and voices side by side", "s", seconds["job"], seconds["side by side"]),
    ]


@dataclass(frozen=True)
class _Job:
    mesh: Mesh
    path: Path

    async def seconds(self) -> float:
        started = time.monotonic()
        row = await asyncio.to_thread(lambda: self.mesh.finished(self.mesh.submitted(self.path, language="en"), _JOB_SECONDS))
        assert row["status"] == "done", row
        return time.monotonic() - started


@dataclass(frozen=True)
class _Bare:
    """What a job asks of the engine, and nothing else: speech, all windows, voices."""

    engine: TritonEngine
    audio: Audio

    async def in_turn(self) -> float:
        """Seconds for one stage after the other, as who calls the engine would do."""
        started = time.monotonic()
        regions, windows = await self._plan()
        await self._hear(windows)
        await self._embed(regions)
        return time.monotonic() - started

    async def side_by_side(self) -> float:
        """Seconds with words and voices at the same time, as a job does."""
        started = time.monotonic()
        regions, windows = await self._plan()
        await asyncio.gather(self._hear(windows), self._embed(regions))
        return time.monotonic() - started

    async def _plan(self) -> tuple[list[Region], list[Window]]:
        probabilities = await self._probabilities()
        regions = find_regions(probabilities, self.audio.duration_ms)
        return regions, plan_windows(regions, probabilities, self.engine.max_window_seconds)

    async def _embed(self, regions: Sequence[Region]) -> None:
        spans = embedding_spans(regions, self.audio.duration_ms)
        await embed_spans(self.engine, self.audio, regions, spans, lambda done_ms: None)

    async def _probabilities(self) -> Floats:
        state, found = VadState(gain=gain_for(loud_level_dbfs(self.audio.samples))), []
        for start_ms in range(0, self.audio.duration_ms, _PIECE_MS):
            probabilities, state = await self.engine.speech_probabilities(self.audio.copy(start_ms, start_ms + _PIECE_MS), state)
            found.append(probabilities)
        return np.concatenate(found)

    async def _hear(self, windows: Sequence[Window]) -> None:
        bound = asyncio.Semaphore(self.engine.windows_in_flight)

        async def hear(window: Window) -> None:
            async with bound:
                await self.engine.transcribe_window(self.audio.copy(window.start_ms, window.end_ms), WindowParameters("en"))

        async with asyncio.TaskGroup() as group:
            for window in windows:
                group.create_task(hear(window), name=f"window {window.index}")
