"""EmbedSpeaker over gRPC: a recording to its voice, refusals as the proto says, and a bound on how many at once."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from services.inference.recordings import MAX_RECORDING_BYTES
from services.inference.slots import Slots
from services.mesh.errors import Overloaded
from services.mesh.status import RETRY_AFTER, RemoteError
from steno.inference.v1.inference_service_pb2 import EmbedSpeakerRequest, EmbedSpeakerResponse, ListModelsRequest
from tests.inference.calling import serving
from tests.inference.conftest import SAMPLES
from tests.inference.stage import HELLO, SILENCE, Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")
DATA = Path(__file__).parent / "data"


def row(answer: EmbedSpeakerResponse) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    return np.frombuffer(answer.embedding, "<f4")


async def test_a_voice_is_like_itself_and_unlike_another(stage: Stage) -> None:
    async with serving(stage) as calls:
        recordings = [(DATA / "voice_slt.ogg").read_bytes(), HELLO.read_bytes(), (DATA / "voice_kal16.ogg").read_bytes()]
        slt, hello, kal16 = [await calls.stub.EmbedSpeaker(EmbedSpeakerRequest(media=recording)) for recording in recordings]
    assert len(slt.embedding) == 1024
    assert np.linalg.norm(row(slt)) == pytest.approx(1, abs=1e-5)
    assert slt.duration_ms == pytest.approx(3_460, abs=30)
    assert float(row(slt) @ row(hello)) > 0.80 > float(row(slt) @ row(kal16))


def too_long() -> bytes:
    return (SAMPLES / "meeting.flac").read_bytes()


def cut_short() -> bytes:
    return HELLO.read_bytes()[:300]


@pytest.mark.parametrize(
    ("recording", "reason"),
    [
        (lambda: b"", "UNSUPPORTED_MEDIA"),
        (lambda: b"WEBVTT\n\nnot audio", "UNSUPPORTED_MEDIA"),
        (cut_short, "BROKEN_MEDIA"),
        (too_long, "MEDIA_TOO_LONG"),
        (lambda: bytes(MAX_RECORDING_BYTES + 1), "MEDIA_TOO_LARGE"),
        (SILENCE.read_bytes, "NO_SPEECH"),
        ((SAMPLES / "clips" / "music.ogg").read_bytes, "NO_SPEECH"),
    ],
    ids=["empty", "text", "cut short", "too long", "too large", "silence", "music"],
)
async def test_what_is_no_voice_is_refused_for_its_reason(stage: Stage, recording: Callable[[], bytes], reason: str) -> None:
    async with serving(stage) as calls:
        with pytest.raises(RemoteError) as refused:
            await calls.stub.EmbedSpeaker(EmbedSpeakerRequest(media=recording()))
    assert refused.value.reason_name == reason


async def test_the_largest_recording_fits_a_message(stage: Stage) -> None:
    padded = HELLO.read_bytes().ljust(MAX_RECORDING_BYTES, b"\0")
    async with serving(stage) as calls:
        answer = await calls.stub.EmbedSpeaker(EmbedSpeakerRequest(media=padded))
    assert len(answer.embedding) == 1024


async def test_models_say_what_they_are_good_for(stage: Stage) -> None:
    async with serving(stage) as calls:
        (model,) = (await calls.stub.ListModels(ListModelsRequest())).models
    assert (model.name, list(model.languages), model.translates, model.production) == ("pocketsphinx-en-us", ["en"], False, False)
    assert (model.test, model.precision, model.max_window_seconds) == (False, "", stage.engine.max_window_seconds)


async def test_too_many_recordings_are_told_to_come_back() -> None:
    slots, held, release = Slots(1, 1, "Too many."), asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with slots.take():
            held.set()
            await release.wait()

    async with asyncio.TaskGroup() as group:
        group.create_task(hold(), name="in hand")
        await held.wait()
        group.create_task(hold(), name="waiting")
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as refused:
            async with slots.take():
                pass
        assert int(refused.value.metadata[RETRY_AFTER]) > 0
        release.set()
    async with slots.take():
        pass
