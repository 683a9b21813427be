"""The engine over a real tritonserver: same answers as here, and whatever dies comes back by itself."""

import asyncio
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import psutil
import pytest

from services.inference.engines.engine import EngineFailed, WindowParameters
from services.inference.engines.triton.engine import TritonEngine, open_triton_engine
from services.inference.engines.triton.server import TritonAddress, TritonServer, open_triton_server
from services.inference.models.catalogue.bundled import TEST_MODEL, install_bundled
from services.inference.models.speaker import load_speaker_encoder
from services.inference.models.vad import SileroVad
from services.inference.models.vad_state import VadState
from services.inference.pcm import SAMPLE_RATE_HZ, Pcm
from services.inference.settings import InferenceSettings
from services.inference.transcript import WindowResult
from services.inference.triton.wire import WHISPER
from services.stack.triton.deployment import find_deployment
from tests.inference.models.tiny_whisper import build_tiny_whisper
from tests.triton_server import RunningTriton, shared_triton

PLAIN = WindowParameters()
# It takes 1 to 8 s, which the end-to-end tests print; here the engine must come back at all.
RECOVERY_SECONDS = 90.0


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models directory with a Whisper of random numbers under the test model's name: it climbs every rung of the ladder."""
    directory = tmp_path_factory.mktemp("models")
    install_bundled(directory, source=build_tiny_whisper(tmp_path_factory.mktemp("tiny")))
    return directory


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[RunningTriton]:
    """One server for all tests of the module; supervised, so that it survives them."""
    with shared_triton(tmp_path_factory.mktemp("triton") / "server", variables={"STENO_TRITON_MODELS_DIRECTORY": str(models)}) as running:
        yield running


@pytest.fixture
def words(clip: Callable[[str], Pcm]) -> Pcm:
    """A few seconds of speech."""
    return clip("hello.flac")[: 20 * SAMPLE_RATE_HZ]


def settings_for(running: RunningTriton, *, may_load: bool = True) -> InferenceSettings:
    return InferenceSettings(engine="triton", triton_address=running.address, triton_model_control=may_load)


async def until(engine: TritonEngine, *, well: bool, seconds: float = 60.0) -> str:
    """Waits for a check that passes or fails, and returns what it says."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                await engine.check()
            except EngineFailed as error:
                if not well:
                    return str(error)
            else:
                if well:
                    return ""
            await asyncio.sleep(0.02)


def processes(running: RunningTriton, model: str) -> Sequence[psutil.Process]:
    """The processes that run a model."""
    assert running.child.pid is not None
    children = psutil.Process(running.child.pid).children(recursive=True)
    # Triton leaves those that were killed as zombies.
    living = [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in living if any(f"/{model}/" in part for part in child.cmdline())]


async def hear(engine: TritonEngine, words: Pcm, count: int) -> list[WindowResult]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(engine.transcribe_window(words, PLAIN)) for _ in range(count)]
    return [task.result() for task in tasks]


async def test_models_answer_as_they_do_in_this_process(triton: RunningTriton, vad: SileroVad, words: Pcm) -> None:
    async with open_triton_engine(settings_for(triton)) as engine:
        await until(engine, well=True)
        assert (engine.model, engine.languages) == (TEST_MODEL, ("en", "es"))
        audio = np.tile(words, 8)[: 140 * SAMPLE_RATE_HZ + 100]
        found, after = await engine.speech_probabilities(audio, VadState(gain=1.5))
        wanted, wanted_after = vad.speech_probabilities(audio, VadState(gain=1.5))
        np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(after.hidden, wanted_after.hidden)
        assert after.ended
        spans = [(start, start + 2_000) for start in range(0, 50_000, 300)]
        rows = await engine.embed(audio[: 60 * SAMPLE_RATE_HZ], spans, 1.2)
        np.testing.assert_allclose(rows, load_speaker_encoder().embed(audio[: 60 * SAMPLE_RATE_HZ], spans, 1.2), atol=1e-5)
        result = await engine.transcribe_window(words, PLAIN)
        assert result.verdict is not None
        assert result.language is not None


async def test_killed_server_costs_no_window(triton: RunningTriton, words: Pcm) -> None:
    async with open_triton_engine(settings_for(triton)) as engine, asyncio.TaskGroup() as group:
        expected = (await engine.transcribe_window(words, PLAIN)).text
        hearing = group.create_task(hear(engine, words, 10))
        await asyncio.sleep(0.3)
        assert triton.child.pid is not None
        os.kill(triton.child.pid, signal.SIGKILL)
        assert triton.address in await until(engine, well=False)
        await triton.until_ready()
        await until(engine, well=True, seconds=RECOVERY_SECONDS)
        assert {result.text for result in await hearing} == {expected}


async def test_killed_process_of_a_model_is_replaced_and_costs_no_window(triton: RunningTriton, words: Pcm) -> None:
    async with open_triton_engine(settings_for(triton)) as engine, asyncio.TaskGroup() as group:
        expected = (await engine.transcribe_window(words, PLAIN)).text
        hearing = group.create_task(hear(engine, words, 10))
        await asyncio.sleep(0.3)
        for process in processes(triton, WHISPER):
            process.kill()
        assert WHISPER in await until(engine, well=False)
        await until(engine, well=True, seconds=RECOVERY_SECONDS)
        assert {result.text for result in await hearing} == {expected}


async def test_process_that_is_killed_while_nothing_is_asked_is_replaced(triton: RunningTriton) -> None:
    async with open_triton_engine(settings_for(triton)) as engine:
        await until(engine, well=True)
        (process,) = processes(triton, "vad")
        process.kill()
        await until(engine, well=False)
        await until(engine, well=True)
        assert [one.pid for one in processes(triton, "vad")] != [process.pid]


async def test_without_model_control_a_dead_model_is_told_until_somebody_reloads_it(triton: RunningTriton) -> None:
    async with open_triton_engine(settings_for(triton, may_load=False)) as engine:
        await until(engine, well=True)
        for process in processes(triton, "speaker"):
            process.kill()
        told = await until(engine, well=False)
        assert "speaker" in told
        async with open_triton_server(TritonAddress(triton.address)) as server:
            await server.reload("speaker", 60)
        await until(engine, well=True, seconds=RECOVERY_SECONDS)


async def test_stopped_server_is_told_and_its_return_needs_nobody(triton: RunningTriton, words: Pcm) -> None:
    async with open_triton_engine(settings_for(triton)) as engine, asyncio.TaskGroup() as group:
        expected = (await engine.transcribe_window(words, PLAIN)).text
        assert triton.child.pid is not None
        hearing = group.create_task(hear(engine, words, 10))
        os.kill(triton.child.pid, signal.SIGSTOP)
        try:
            assert "does not answer" in await until(engine, well=False)
            await asyncio.sleep(1)
            assert not hearing.done()
        finally:
            os.kill(triton.child.pid, signal.SIGCONT)
        await until(engine, well=True, seconds=RECOVERY_SECONDS)
        assert {result.text for result in await hearing} == {expected}


async def executed(server: TritonServer) -> int:
    return (await server.progress(WHISPER)).inferences


async def test_cancelled_windows_are_not_worked_on(triton: RunningTriton, words: Pcm) -> None:
    async with AsyncExitStack() as stack:
        # Three clients fill the queue with several batches: one client's windows are two, the second of which starts as the first ends.
        engines = [await stack.enter_async_context(open_triton_engine(settings_for(triton))) for _ in range(3)]
        server = await stack.enter_async_context(open_triton_server(TritonAddress(triton.address)))
        for engine in engines:
            await until(engine, well=True)
        first = await executed(server)
        await engines[0].transcribe_window(words, PLAIN)
        before = await executed(server)
        tries = before - first
        tasks = [asyncio.create_task(engine.transcribe_window(words, PLAIN)) for engine in engines for _ in range(engine.windows_in_flight)]
        async with asyncio.timeout(60):
            while await executed(server) == before:
                await asyncio.sleep(0.005)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await engines[0].transcribe_window(words, PLAIN)
        assert await executed(server) - before < len(tasks) + tries, "those in the queue were dropped"


async def test_full_queue_fails_no_window(tmp_path: Path, models: Path, words: Pcm) -> None:
    repository = tmp_path / "repository"
    shutil.copytree(find_deployment() / "model_repository", repository)
    config = repository / WHISPER / "config.pbtxt"
    config.write_text(
        config.read_text().replace("max_queue_size: 64", "max_queue_size: 1").replace("max_batch_size: 8", "max_batch_size: 2")
    )
    with shared_triton(tmp_path / "server", repository=repository, variables={"STENO_TRITON_MODELS_DIRECTORY": str(models)}) as running:
        async with open_triton_engine(settings_for(running)) as engine:
            await until(engine, well=True)
            bounds: list[int] = []
            engine.on_capacity(lambda: bounds.append(engine.windows_in_flight))
            expected = (await engine.transcribe_window(words, PLAIN)).text
            assert {result.text for result in await hear(engine, words, 8)} == {expected}
            assert min(bounds) < 4, "it asked for less at once"


async def test_server_without_the_model_is_told(tmp_path: Path) -> None:
    with shared_triton(tmp_path / "server", models=["vad", "speaker"]) as running:
        async with open_triton_engine(settings_for(running, may_load=False)) as engine:
            async with asyncio.timeout(30):
                while "not loaded the model whisper" not in await until(engine, well=False):
                    await asyncio.sleep(0.02)
