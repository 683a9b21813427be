"""The local engine answers while its processes die."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from services.inference.engines.engine import EngineFailed, LanguageUnsupported, WindowFailed, WindowParameters
from services.inference.engines.local import LocalEngine, open_local_engine
from services.inference.engines.local_pool import ATTEMPTS, WorkerPool, open_worker_pool
from services.inference.models.vad import SileroVad
from services.inference.models.vad_state import VadState
from services.inference.pcm import Pcm, cut
from tests.inference.conftest import Heard

ENGLISH = WindowParameters("en")


async def busy_worker(pool: WorkerPool) -> int:
    """The id of a process that is at work on a window, not only starting."""
    async with asyncio.timeout(20):
        while True:
            for pid in pool.pids:
                if psutil.Process(pid).cpu_times().user > 0.8:
                    return pid
            await asyncio.sleep(0.01)


async def gone(pid: int) -> bool:
    async with asyncio.timeout(60):
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.02)
    return True


@pytest.fixture
def long_window(meeting: Heard) -> Pcm:
    """A minute of speech: several seconds of work."""
    return cut(meeting.pcm, 0, 60_000)


async def test_a_window_survives_the_death_of_its_process(meeting: Heard) -> None:
    window = cut(meeting.pcm, 0, 12_500)
    async with open_worker_pool(1) as pool:
        engine = LocalEngine(pool)
        task = asyncio.create_task(engine.transcribe_window(window, ENGLISH), name="window")
        first = await busy_worker(pool)
        os.kill(first, signal.SIGKILL)
        result = await task
        assert pool.pids
        assert first not in pool.pids
    assert result.text.startswith("good morning")


async def test_a_window_that_kills_every_process_is_given_up(long_window: Pcm) -> None:
    async with open_worker_pool(1) as pool:
        task = asyncio.create_task(LocalEngine(pool).transcribe_window(long_window, ENGLISH), name="window")
        killed: set[int] = set()
        while not task.done():
            for pid in set(pool.pids) - killed:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            await asyncio.sleep(0.01)
        with pytest.raises(WindowFailed):
            task.result()
        assert len(killed) == ATTEMPTS
        assert await pool.call("ping") not in killed


async def test_cancelling_frees_the_slot_and_ends_the_work(long_window: Pcm) -> None:
    async with open_worker_pool(1) as pool:
        task = asyncio.create_task(LocalEngine(pool).transcribe_window(long_window, ENGLISH), name="window")
        worker = await busy_worker(pool)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await gone(worker)
        async with asyncio.timeout(60):
            assert await pool.call("ping") != worker


async def test_every_process_ends_with_the_engine() -> None:
    async with open_worker_pool(2) as pool:
        await asyncio.gather(pool.call("ping"), pool.call("ping"))
        pids = pool.pids
        assert len(pids) == 2
        assert all(psutil.Process(pid).nice() >= 10 for pid in pids)
    assert all([await gone(pid) for pid in pids])


async def test_no_process_outlives_a_killed_parent() -> None:
    script = (
        "import asyncio\n"
        "from services.inference.engines.local_pool import open_worker_pool\n"
        "async def main():\n"
        "    async with open_worker_pool(1) as pool:\n"
        "        print(await pool.call('ping'), flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    assert parent.stdout is not None
    worker = int(await asyncio.wait_for(parent.stdout.readline(), 20))
    parent.kill()
    await parent.wait()
    assert await gone(worker)


async def test_a_model_that_raises_fails_the_call_and_not_the_process(engine: LocalEngine) -> None:
    _, ended = await engine.speech_probabilities(np.zeros(700, np.int16), VadState())
    with pytest.raises(EngineFailed, match="last piece"):
        await engine.speech_probabilities(np.zeros(512, np.int16), ended)
    await engine.check()


async def test_the_engine_says_what_the_models_say(engine: LocalEngine, meeting: Heard, vad: SileroVad) -> None:
    pcm = cut(meeting.pcm, 0, 4_000)
    found, _ = await engine.speech_probabilities(pcm, VadState())
    np.testing.assert_allclose(found, vad.speech_probabilities(pcm, VadState())[0], atol=1e-6)
    embeddings = await engine.embed(pcm, [(500, 2_500), (1_000, 3_000)], 1.0)
    assert embeddings.shape == (2, 256)


async def test_a_foreign_language_is_refused(engine: LocalEngine) -> None:
    with pytest.raises(LanguageUnsupported):
        await engine.transcribe_window(np.zeros(16_000, np.int16), WindowParameters("es"))


async def test_check_does_not_wait_behind_windows(long_window: Pcm) -> None:
    async with open_local_engine(1) as engine, asyncio.TaskGroup() as tasks:
        window = tasks.create_task(engine.transcribe_window(long_window, ENGLISH), name="window")
        await asyncio.sleep(0)
        async with asyncio.timeout(1):
            await engine.check()
        window.cancel()
