"""Detectors behind a real tritonserver: they come and go while other models answer, and come back after every death."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

from services.detection.features import features
from services.inference.engines.engine import EngineFailed, StoredDetector
from services.inference.engines.triton.detectors import TritonDetectors
from services.inference.engines.triton.faults import CallFailed
from services.inference.engines.triton.repository import DetectorRepository
from services.inference.engines.triton.server import TritonAddress, TritonServer, open_triton_server
from services.inference.models.detector import DetectorModel
from services.inference.models.vad_state import VadState
from services.inference.pcm import Pcm
from services.inference.triton import wire
from tests.inference.detection_data import LOUD, QUIET, noise, write_detector
from tests.triton_server import RunningTriton, shared_triton

MOST = 2
SECONDS = 60.0
ROWS = features(noise(20, [(3_000, 4_000)]))


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningTriton]:
    """A server of speech's `vad`, with a second repository for detectors."""
    folder = tmp_path_factory.mktemp("triton")
    with shared_triton(folder / "server", models=["vad"], detectors=folder / "detectors") as running:
        yield running


def repository(triton: RunningTriton) -> Path:
    assert triton.server.detectors is not None
    return triton.server.detectors


@asynccontextmanager
async def serving(triton: RunningTriton) -> AsyncIterator[tuple[TritonDetectors, TritonServer]]:
    async with open_triton_server(TritonAddress(triton.address)) as server:
        yield TritonDetectors(server, DetectorRepository(repository(triton)), MOST, SECONDS, SECONDS), server


def stored(folder: Path, name: str) -> StoredDetector:
    return StoredDetector(name, write_detector(folder / f"{name}.onnx"))


async def check(detectors: TritonDetectors, detector: StoredDetector) -> None:
    """It answers as it does in this process."""
    async with asyncio.timeout(SECONDS):
        found = await detectors.detect(detector, ROWS)
    assert found.artifact_types == (LOUD, QUIET)
    np.testing.assert_allclose(found.scores, DetectorModel(detector.path).score(ROWS), atol=1e-6)


async def hear(server: TritonServer, pcm: Pcm, until: asyncio.Event) -> int:
    """Ask `vad` again and again; returns how often it answered. Raises CallFailed at its first failure."""
    answers = 0
    while not until.is_set():
        await server.infer(wire.VAD, wire.encode_piece(pcm, VadState()), deadline_seconds=SECONDS)
        answers += 1
    return answers


async def is_loaded(server: TritonServer, name: str) -> bool:
    try:
        await server.config(name)
    except CallFailed:
        return False
    return True


async def test_detectors_come_and_go_without_a_failed_request_elsewhere(triton: RunningTriton, tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    async with serving(triton) as (detectors, server), asyncio.TaskGroup() as group:
        done = asyncio.Event()
        hearing = [group.create_task(hear(server, noise(2), done)) for _ in range(2)]
        await check(detectors, stored(tmp_path, "a"))
        await asyncio.gather(*(check(detectors, stored(tmp_path, name)) for name in names))
        await check(detectors, stored(tmp_path, "a"))
        loaded = [name for name in names if await is_loaded(server, f"detector-{name}")]
        done.set()
    assert all(task.result() > 10 for task in hearing)
    assert "a" in loaded
    assert {path.name for path in repository(triton).iterdir()} == {f"detector-{name}" for name in loaded}


async def test_of_more_than_the_bound_the_one_unused_for_longest_is_unloaded_and_removed(triton: RunningTriton, tmp_path: Path) -> None:
    async with serving(triton) as (detectors, server):
        for name in ("first", "second", "first", "third"):
            await check(detectors, stored(tmp_path, name))
        assert [await is_loaded(server, f"detector-{name}") for name in ("first", "second", "third")] == [True, False, True]
    assert {path.name for path in repository(triton).iterdir()} == {"detector-first", "detector-third"}


async def test_another_process_takes_over_what_it_finds(triton: RunningTriton, tmp_path: Path) -> None:
    detector = stored(tmp_path, "shared")
    async with serving(triton) as (before, _), serving(triton) as (after, server):
        await check(before, detector)
        await check(after, detector)
        await server.unload("detector-shared", SECONDS)
        await asyncio.to_thread(DetectorRepository(repository(triton)).remove, "detector-shared")
        await check(before, detector)


async def test_killed_server_costs_no_file(triton: RunningTriton, tmp_path: Path) -> None:
    detector = stored(tmp_path, "kept")
    async with serving(triton) as (detectors, _):
        await check(detectors, detector)
        assert triton.child.pid is not None
        os.kill(triton.child.pid, signal.SIGKILL)
        await check(detectors, detector)


async def test_killed_process_of_a_detector_is_replaced(triton: RunningTriton, tmp_path: Path) -> None:
    await triton.until_ready()
    detector = stored(tmp_path, "killed")
    async with serving(triton) as (detectors, _):
        await check(detectors, detector)
        assert triton.child.pid is not None
        below = psutil.Process(triton.child.pid).children(recursive=True)
        (process,) = [one for one in below if any("/detector-killed/" in part for part in one.cmdline())]
        process.kill()
        await check(detectors, detector)


async def test_detector_that_does_not_load_fails_and_harms_no_other(triton: RunningTriton, tmp_path: Path) -> None:
    await triton.until_ready()
    (tmp_path / "broken.onnx").write_text("no graph")
    async with serving(triton) as (detectors, _):
        await check(detectors, stored(tmp_path, "whole"))
        with pytest.raises(EngineFailed, match="ForeignDetector"):
            async with asyncio.timeout(SECONDS):
                await detectors.detect(StoredDetector("broken", tmp_path / "broken.onnx"), ROWS)
        await check(detectors, stored(tmp_path, "whole"))


def test_what_a_killed_process_left_unfinished_is_removed(tmp_path: Path) -> None:
    old, young = tmp_path / ".unfinished-old", tmp_path / ".unfinished-young"
    for folder in (old, young):
        (folder / "1").mkdir(parents=True)
    os.utime(old, (0, 0))
    DetectorRepository(tmp_path).tidy()
    assert (old.exists(), young.exists()) == (False, True)
