"""How long a request waits for a service that is at work, and for one that hangs."""

import asyncio
import time

import grpc
import pytest

from services.gateway import vigil
from services.gateway.domain import Reason, Refusal
from services.gateway.vigil import while_alive
from services.mesh.status import RemoteError


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vigil, "_LOOK_SECONDS", 0.05)


async def silent() -> bool:
    raise RemoteError(grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "no answer")


async def unwell() -> bool:
    return False


async def test_slow_work_of_a_service_that_answers_is_waited_for() -> None:
    async def work() -> str:
        await asyncio.sleep(0.5)
        return "done"

    assert await while_alive(work(), unwell) == "done"


async def test_work_of_a_silent_service_is_given_up_and_ended() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(300)
        finally:
            ended.set()

    began = time.monotonic()
    with pytest.raises(Refusal) as caught:
        await while_alive(work(), silent)
    assert caught.value.reason is Reason.BACKEND_UNREACHABLE
    assert ended.is_set()
    assert time.monotonic() - began < 5


async def test_what_the_work_raises_is_raised() -> None:
    async def work() -> None:
        raise Refusal(Reason.STORE_FULL)

    with pytest.raises(Refusal) as caught:
        await while_alive(work(), silent)
    assert caught.value.reason is Reason.STORE_FULL
