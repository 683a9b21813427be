"""A service stops in order, fails as a whole, and says every problem with its settings."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from services.mesh.lifecycle import Lifecycle, wait_or_stop

PROGRAM = """
import asyncio, sys
from contextlib import asynccontextmanager
from services.mesh.run import run
from services.mesh.settings import ServiceSettings, UnusableSettings, settings_config

class Settings(ServiceSettings):
    model_config = settings_config("STENO_TEST_")

async def fail_soon():
    await asyncio.sleep(0.05)
    raise ValueError("worker broke")

async def say(lifecycle):
    await lifecycle.leaving.wait()
    if not lifecycle.stopping.is_set():
        print("leaving", flush=True)

@asynccontextmanager
async def app(settings, lifecycle):
    if "unusable" in sys.argv:
        raise UnusableSettings("STENO_TEST_MODEL: run `steno models pull small`")
    async with lifecycle.working():
        if "fail" in sys.argv:
            lifecycle.spawn(fail_soon(), "worker")
        print("open", flush=True)
        lifecycle.spawn(say(lifecycle), "say")
        yield
    print("closed", flush=True)

run(app, Settings)
"""


def service(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
    """A service process."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def test_sigterm_closes_the_app_and_exits_with_0() -> None:
    with service() as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=30)[0] == "closed\n"
    assert process.returncode == 0


def test_first_sigterm_gives_notice_and_the_second_ends_it() -> None:
    with service(STENO_TEST_SHUTDOWN_NOTICE_SECONDS="60") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "leaving\n"
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=30)[0] == "closed\n"
    assert process.returncode == 0


def test_notice_ends_by_itself() -> None:
    with service(STENO_TEST_SHUTDOWN_NOTICE_SECONDS="0.1") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=30)[0] == "leaving\nclosed\n"
    assert process.returncode == 0


def test_failed_task_closes_the_app_and_exits_with_1() -> None:
    with service("fail") as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, "open\nclosed\n")
    assert "worker broke" in err


def test_all_bad_settings_are_reported_together() -> None:
    with service(STENO_TEST_PORT="high", STENO_TEST_LOG_LEVEL="loud") as process:
        err = process.communicate(timeout=30)[1]
    assert process.returncode == 2
    assert "STENO_TEST_PORT" in err
    assert "STENO_TEST_LOG_LEVEL" in err


def test_settings_that_name_nothing_exit_with_2_and_say_what_to_do() -> None:
    with service("unusable") as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, "")
    assert "steno models pull small" in err
    assert "Traceback" not in err


async def test_tasks_are_asked_to_stop_before_they_are_cancelled() -> None:
    lifecycle = Lifecycle(grace_seconds=0.2)
    ends: list[str] = []

    async def polite() -> None:
        await lifecycle.stopping.wait()
        ends.append("polite")

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.append("stubborn")
            raise

    async with lifecycle.working():
        lifecycle.spawn(polite(), "polite")
        lifecycle.spawn(stubborn(), "stubborn")
        await asyncio.sleep(0)
    assert ends == ["polite", "stubborn"]
    assert lifecycle.failure is None


async def test_task_outside_of_working_is_refused() -> None:
    async def work() -> None: ...

    with pytest.raises(RuntimeError, match="outside"):
        Lifecycle().spawn(work(), "work")


async def test_wait_or_stop_says_which_came_first() -> None:
    stopping = asyncio.Event()
    assert not await wait_or_stop(stopping, 0.01)
    stopping.set()
    assert await wait_or_stop(stopping, 10)
