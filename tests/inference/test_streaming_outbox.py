"""The outbox of a call: bounded, and the end of its reader is the end of the work."""

import asyncio

import pytest

from services.inference.streaming.outbox import Outbox, stream
from services.mesh.errors import Overloaded
from steno.inference.v1.inference_service_pb2 import TranscribeResponse
from steno.jobs.v1.transcript_pb2 import Segment


def response(number: int) -> TranscribeResponse:
    return TranscribeResponse(segment=Segment(id=number))


async def test_work_runs_no_further_ahead_of_its_reader_than_the_capacity() -> None:
    sent: list[int] = []

    async def work(out: Outbox) -> None:
        for number in range(100):
            await out.put(response(number))
            sent.append(number)

    responses = stream(work, Outbox(capacity=4), "test")
    await anext(responses)
    while len(sent) < 5:
        await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(sent) == 5
    assert [item.segment.id async for item in responses] == list(range(1, 100))


async def test_a_reader_that_reads_nothing_ends_the_work() -> None:
    ended = asyncio.Event()

    async def work(out: Outbox) -> None:
        try:
            while True:
                await out.put(response(0))
        finally:
            ended.set()

    responses = stream(work, Outbox(capacity=2, reader_seconds=0.05), "test")
    await anext(responses)
    async with asyncio.timeout(60):
        await ended.wait()
    with pytest.raises(Overloaded):
        [item async for item in responses]


async def test_closing_the_stream_waits_for_the_end_of_the_work() -> None:
    steps: list[str] = []

    async def work(out: Outbox) -> None:
        await out.put(response(0))
        try:
            await asyncio.Event().wait()
        finally:
            steps.append("ended")

    responses = stream(work, Outbox(), "test")
    await anext(responses)
    await responses.aclose()
    assert steps == ["ended"]


async def test_progress_is_left_out_for_who_reads_slowly() -> None:
    async def work(out: Outbox) -> None:
        for percent in range(100):
            out.advance(percent / 100)
        await out.put(response(0))
        out.advance(0.999)

    responses = [item async for item in stream(work, Outbox(), "test")]
    assert [item.WhichOneof("event") for item in responses] == ["progress", "segment"]


async def test_what_the_work_raises_comes_after_what_it_sent() -> None:
    async def work(out: Outbox) -> None:
        await out.put(response(7))
        raise Overloaded

    responses = stream(work, Outbox(), "test")
    assert (await anext(responses)).segment.id == 7
    with pytest.raises(Overloaded):
        await anext(responses)
