"""Transcribe over gRPC: the segments of a job as they become certain, paid for once, and stopped when nobody wants them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.inference.engines.engine import WindowFailed
from services.inference.recordings import MAX_RECORDING_BYTES
from services.inference.scheduling import WindowScheduler
from services.mesh.identity import Caller, CallerKind, calling_as
from services.mesh.status import RETRY_AFTER, RemoteError
from steno.billing.v1.ledger_pb2 import Hold
from steno.billing.v1.workspace_pb2 import Plan
from steno.inference.v1.inference_service_pb2 import TranscribeRequest, TranscribeResponse
from steno.jobs.v1.job_pb2 import KnownSpeaker, TranscriptionConfig
from steno.jobs.v1.transcript_pb2 import Segment
from steno.storage.v1.media_pb2 import Media
from tests.inference.calling import KEY, Calls, serving
from tests.inference.peers import WORKSPACE
from tests.inference.stage import HELLO, SILENCE, TWO_VOICES, Stage, until

LONG_PAUSE = HELLO.parent / "long_pause.flac"
pytestmark = pytest.mark.asyncio(loop_scope="session")


def segments(responses: list[TranscribeResponse]) -> list[Segment]:
    return [response.segment for response in responses if response.HasField("segment")]


def kinds(responses: list[TranscribeResponse]) -> list[str | None]:
    return [response.WhichOneof("event") for response in responses]


async def refused(calls: Calls, caller: Caller = KEY, **request: Any) -> RemoteError:
    """The error that a call ends with; whatever it held is given back."""
    with pytest.raises(RemoteError) as caught:
        await calls.transcribe(caller, **request)
    await until(lambda: Hold.STATE_OPEN not in calls.billing.states(), "the hold to be given back")
    return caught.value


@pytest.mark.parametrize("diarize", [False, True])
async def test_the_segments_are_those_of_a_job_and_the_charge_is_its_charge(stage: Stage, diarize: bool) -> None:
    job = stage.job(TWO_VOICES, diarize=diarize, word_timestamps=True)
    await stage.run(job)
    event = await stage.completed(job)
    transcript = stage.storage.transcript(event.transcript_artefact_id)
    kept = set(stage.storage.artefacts)
    async with serving(stage) as calls:
        stage.storage.probed_ms = transcript.audio_duration_ms
        config = TranscriptionConfig(diarize=diarize, word_timestamps=True)
        responses = await calls.transcribe(media_id=job.media_id, config=config, model=stage.engine.model)
        told = [kind for kind in kinds(responses) if kind != "progress"]
        assert segments(responses) == list(transcript.segments)
        assert told == ["started", *["segment"] * len(transcript.segments), "completed"]
        started = next(response.started for response in responses if response.HasField("started"))
        assert (started.audio_duration_ms, started.speech_ratio) == (transcript.audio_duration_ms, transcript.speech_ratio)
        completed = responses[-1].completed
        assert (completed.billable_ms, list(completed.speakers)) == (event.billable_ms, list(transcript.speakers))
        assert (completed.segment_count, completed.gap_count) == (len(transcript.segments), 0)
        progress = [response.progress for response in responses if response.HasField("progress")]
        assert progress == sorted(progress)
        (hold,) = calls.billing.holds.values()
        assert (hold.amount_ms, hold.settled_ms, hold.state) == (transcript.audio_duration_ms, event.billable_ms, Hold.STATE_SETTLED)
    assert set(stage.storage.artefacts) == kept


async def test_a_segment_comes_before_the_windows_behind_it_and_leaving_stops_the_work_at_once(stage: Stage) -> None:
    # One turn at the engine, or the second window may be asked first.
    pipeline = replace(stage.bench.pipeline, scheduler=WindowScheduler(lambda: 1))
    stage.bench = replace(stage.bench, pipeline=pipeline)
    stage.engine.hanging = set(range(1, 10))
    async with serving(stage, slots=1, waiting=0) as calls:
        stream = calls.start(media=LONG_PAUSE.read_bytes())
        async for response in stream:
            if response.HasField("segment"):
                break
        assert response.segment.text
        assert calls.billing.states() == [Hold.STATE_OPEN]
        await stream.aclose()  # type: ignore[attr-defined]
        await until(lambda: calls.billing.states() == [Hold.STATE_RELEASED])
        stage.engine.hanging = set()
        # Its slot and its turns at the engine are free again.
        responses = await calls.transcribe(media=HELLO.read_bytes())
    assert "calling" in " ".join(segment.text for segment in segments(responses)).lower()
    assert list(stage.bench.scratch.iterdir()) == []


@pytest.mark.parametrize("clip", [HELLO, TWO_VOICES])
async def test_the_end_is_told_after_the_charge_only(stage: Stage, clip: Path) -> None:
    async with serving(stage) as calls:
        calls.billing.away = {"Settle": 1_000}
        stream, told = calls.start(media=clip.read_bytes()), list[TranscribeResponse]()
        collecting = asyncio.create_task(collect(stream, told))
        await until(lambda: calls.billing.away["Settle"] < 1_000, "the charge to be tried")
        early = list(told)
        calls.billing.away = {}
        await collecting
        assert len(segments(early)) < len(segments(told))
        assert calls.billing.states() == [Hold.STATE_SETTLED]


async def collect(stream: AsyncIterator[TranscribeResponse], told: list[TranscribeResponse]) -> None:
    async for response in stream:
        told.append(response)  # noqa: PERF401 (what has come is looked at meanwhile)


async def test_silence_costs_nothing(stage: Stage) -> None:
    async with serving(stage) as calls:
        responses = await calls.transcribe(media=SILENCE.read_bytes())
        assert [kind for kind in kinds(responses) if kind != "progress"] == ["started", "completed"]
        completed = responses[-1].completed
        assert (completed.speech_detected, completed.billable_ms) == (False, 0)
        assert completed.suggestion
        assert calls.billing.states() == [Hold.STATE_RELEASED]


@pytest.mark.parametrize("kind", [CallerKind.SERVICE, CallerKind.OPERATOR])
async def test_a_service_that_acts_for_no_workspace_is_not_charged(stage: Stage, kind: CallerKind) -> None:
    async with serving(stage) as calls:
        responses = await calls.transcribe(Caller(kind, "gateway"), media=HELLO.read_bytes())
    assert responses[-1].completed.billable_ms == 0
    assert segments(responses)
    assert calls.billing.holds == {}


async def test_a_service_that_acts_for_a_workspace_has_it_charged(stage: Stage) -> None:
    async with serving(stage) as calls:
        responses = await calls.transcribe(replace(KEY, kind=CallerKind.SERVICE), media=HELLO.read_bytes())
        assert responses[-1].completed.billable_ms > 0
        assert calls.billing.states() == [Hold.STATE_SETTLED]


async def test_without_credit_no_window_is_heard(stage: Stage) -> None:
    async with serving(stage) as calls:
        calls.billing.credit_ms = 1_000
        error = await refused(calls, media=HELLO.read_bytes())
    assert (error.code, error.reason_name) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "NO_CREDITS")
    assert stage.engine.windows_heard == 0


ENGLISH_VOICE = KnownSpeaker(name="ann", embedding=b"1234")


@pytest.mark.parametrize(
    ("request_fields", "reason"),
    [
        ({}, "INVALID_FIELD"),
        ({"media": b"RIFF", "model": "whisper-9"}, "INVALID_FIELD"),
        ({"media": b"RIFF", "config": TranscriptionConfig(speaker_count=21)}, "INVALID_FIELD"),
        ({"media": b"RIFF", "config": TranscriptionConfig(temperature=2)}, "INVALID_FIELD"),
        ({"media": b"RIFF", "config": TranscriptionConfig(language="english")}, "INVALID_FIELD"),
        ({"media": b"RIFF", "config": TranscriptionConfig(known_speakers=[ENGLISH_VOICE])}, "INVALID_FIELD"),
        ({"media": b"RIFF", "config": TranscriptionConfig(known_speakers=[ENGLISH_VOICE] * 2)}, "INVALID_FIELD"),
        ({"media": b"RIFF", "config": TranscriptionConfig(language="fr-CA")}, "LANGUAGE_NOT_SUPPORTED"),
        ({"media": b"WEBVTT\n\nnot audio"}, "UNSUPPORTED_MEDIA"),
        ({"media": b""}, "UNSUPPORTED_MEDIA"),
        ({"media": HELLO.read_bytes()[:300]}, "BROKEN_MEDIA"),
        ({"media": bytes(MAX_RECORDING_BYTES + 1)}, "MEDIA_TOO_LARGE"),
        ({"media_id": "unknown"}, "MEDIA_NOT_FOUND"),
    ],
)
async def test_what_cannot_be_transcribed_is_refused_for_its_reason(stage: Stage, request_fields: dict[str, Any], reason: str) -> None:
    async with serving(stage) as calls:
        assert (await refused(calls, **request_fields)).reason_name == reason
        assert calls.billing.holds == {}


async def test_media_that_is_not_ready_is_not_found(stage: Stage) -> None:
    media_id = stage.storage.add_media(HELLO.read_bytes())
    async with serving(stage) as calls:
        stage.storage.state = Media.STATE_UPLOADING
        assert (await refused(calls, media_id=media_id)).reason_name == "MEDIA_NOT_FOUND"


async def test_stored_media_that_does_not_decode_is_not_charged(stage: Stage) -> None:
    media_id = stage.storage.add_media(b"WEBVTT\n\nnot audio")
    async with serving(stage) as calls:
        assert (await refused(calls, media_id=media_id)).reason_name == "MEDIA_UNPROCESSABLE"
        assert calls.billing.states() == [Hold.STATE_RELEASED]


async def test_a_guest_names_no_media_and_a_reader_transcribes_nothing(stage: Stage) -> None:
    media_id = stage.storage.add_media(HELLO.read_bytes())
    async with serving(stage) as calls:
        guest = replace(KEY, kind=CallerKind.GUEST, owner="guest:key-1")
        assert (await refused(calls, guest, media_id=media_id)).reason_name == "ACCESS_DENIED"
        reader = replace(KEY, scopes=("read",))
        assert (await refused(calls, reader, media=HELLO.read_bytes())).reason_name == "INSUFFICIENT_SCOPE"


@pytest.mark.parametrize(
    ("plan", "reason"), [(Plan(max_duration_ms=1_000), "MEDIA_TOO_LONG"), (Plan(max_upload_bytes=1_000), "MEDIA_TOO_LARGE")]
)
async def test_what_a_plan_forbids_is_refused_and_the_hold_goes_back(stage: Stage, plan: Plan, reason: str) -> None:
    async with serving(stage) as calls:
        calls.billing.plan = plan
        assert (await refused(calls, media=HELLO.read_bytes())).reason_name == reason
        assert calls.billing.states() == [Hold.STATE_RELEASED]


async def test_one_call_too_many_is_told_when_to_come_back(stage: Stage) -> None:
    stage.engine.hanging = {0, 1, 2}
    async with serving(stage, slots=1, waiting=0) as calls:
        stream = calls.start(media=HELLO.read_bytes())
        await anext(stream)
        error = await refused_beside(calls)
        assert (error.code, error.reason_name) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert int(error.metadata[RETRY_AFTER]) > 0
        await stream.aclose()  # type: ignore[attr-defined]


async def refused_beside(calls: Calls) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        await calls.transcribe(media=HELLO.read_bytes())
    return caught.value


async def test_the_callers_deadline_ends_the_work_and_gives_the_hold_back(stage: Stage) -> None:
    stage.engine.hanging = {0, 1, 2}
    async with serving(stage) as calls:
        with calling_as(KEY), pytest.raises(RemoteError) as caught:
            async for _ in calls.stub.Transcribe(TranscribeRequest(media=HELLO.read_bytes()), timeout=3):
                pass
        assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        await until(lambda: calls.billing.states() in ([], [Hold.STATE_RELEASED]))


async def test_the_hold_is_renewed_while_the_work_goes_on_and_its_loss_ends_the_work(stage: Stage) -> None:
    stage.engine.hanging = {0, 1, 2}
    async with serving(stage, hold_seconds=0.4) as calls:
        call = asyncio.create_task(calls.transcribe(media=HELLO.read_bytes()))
        await until(lambda: calls.billing.renewals >= 3, "the hold to be renewed")
        (hold,) = calls.billing.holds.values()
        hold.state = Hold.STATE_RELEASED
        with pytest.raises(RemoteError) as caught:
            await call
    assert (caught.value.code, caught.value.reason_name) == (grpc.StatusCode.UNAVAILABLE, "HOLD_LOST")


async def test_work_ends_when_billing_is_away_for_as_long_as_the_hold_stands(stage: Stage) -> None:
    stage.engine.hanging = {0, 1, 2}
    async with serving(stage, hold_seconds=0.4) as calls:
        call = asyncio.create_task(calls.transcribe(media=HELLO.read_bytes()))
        await until(lambda: calls.billing.renewals >= 1)
        calls.billing.away = {"Reserve": 1_000}
        with pytest.raises(RemoteError) as caught:
            await call
    assert caught.value.reason_name == "HOLD_LOST"


async def test_the_charge_waits_for_billing_to_come_back(stage: Stage) -> None:
    async with serving(stage) as calls:
        calls.billing.away = {"Settle": 6}
        responses = await calls.transcribe(media=HELLO.read_bytes())
        assert responses[-1].completed.billable_ms > 0
        assert calls.billing.states() == [Hold.STATE_SETTLED]


async def test_a_charge_whose_answer_is_lost_is_no_lost_hold(stage: Stage) -> None:
    async with serving(stage, hold_seconds=0.4) as calls:
        calls.billing.deaf = 5
        responses = await calls.transcribe(media=HELLO.read_bytes())
        (hold,) = calls.billing.holds.values()
    assert responses[-1].completed.billable_ms == hold.settled_ms > 0


async def test_a_call_that_ends_after_the_service_closed_leaves_its_hold_to_its_end(stage: Stage) -> None:
    async with serving(stage) as calls:
        charging = calls.cashier.charging(WORKSPACE)
        charge = await charging.__aenter__()
        await charge.hold(1_000, 1)
    await charging.__aexit__(None, None, None)
    assert calls.billing.states() == [Hold.STATE_OPEN]


async def test_a_hold_goes_back_though_billing_was_away_when_the_caller_left(stage: Stage) -> None:
    stage.engine.hanging = {0, 1, 2}
    async with serving(stage) as calls:
        calls.billing.away = {"Release": 6}
        stream = calls.start(media=HELLO.read_bytes())
        async for response in stream:
            if response.HasField("started"):
                break
        await stream.aclose()  # type: ignore[attr-defined]
        await until(lambda: calls.billing.states() == [Hold.STATE_RELEASED])


async def test_a_lost_window_is_a_gap_in_its_place(stage: Stage) -> None:
    stage.engine.trouble = lambda number: WindowFailed("broken") if number == 1 else None
    async with serving(stage) as calls:
        responses = await calls.transcribe(media=TWO_VOICES.read_bytes())
    offsets = [getattr(response, str(response.WhichOneof("event"))).start_offset_ms for response in responses if not is_frame(response)]
    assert kinds(responses).count("gap") == 1
    assert offsets == sorted(offsets)
    assert responses[-1].completed.gap_count == 1


def is_frame(response: TranscribeResponse) -> bool:
    return response.WhichOneof("event") in ("started", "progress", "completed")


@pytest.mark.parametrize(("strict", "failing", "reason"), [(True, 1, "TRANSCRIPT_INCOMPLETE"), (False, 0, "TRANSCRIPTION_FAILED")])
async def test_what_fails_a_job_fails_the_call_and_is_not_charged(stage: Stage, strict: bool, failing: int, reason: str) -> None:
    stage.engine.trouble = lambda number: WindowFailed("broken") if number >= failing else None
    async with serving(stage) as calls:
        error = await refused(calls, media=TWO_VOICES.read_bytes(), config=TranscriptionConfig(strict=strict))
        assert error.reason_name == reason
        assert calls.billing.states() == [Hold.STATE_RELEASED]


async def test_an_engine_that_is_away_is_said_at_once(stage: Stage) -> None:
    stage.engine.dead = True
    async with serving(stage) as calls:
        error = await refused(calls, media=HELLO.read_bytes())
    assert (error.code, error.reason_name) == (grpc.StatusCode.UNAVAILABLE, "ENGINE_UNAVAILABLE")
    assert calls.billing.holds == {}


async def test_a_service_that_stops_sends_its_callers_elsewhere(stage: Stage) -> None:
    stage.engine.hanging = {0, 1, 2}
    async with serving(stage) as calls:
        call = asyncio.create_task(refused(calls, media=HELLO.read_bytes()))
        await stage.engine.at_work.wait()
        calls.stopping.set()
        assert (await call).reason_name == "SERVICE_UNAVAILABLE"


async def test_no_call_takes_longer_than_the_service_allows(stage: Stage) -> None:
    stage.engine.hanging = {0, 1, 2}
    async with serving(stage, most_seconds=2) as calls:
        assert (await refused(calls, media=HELLO.read_bytes())).reason_name == "ENGINE_UNAVAILABLE"
