"""The models of a real tritonserver say what those of this process say, alone and in batches."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from tritonclient.utils import InferenceServerException

from services.inference.models.speaker import load_speaker_encoder
from services.inference.models.vad import SileroVad
from services.inference.models.vad_state import VadState
from services.inference.models.whisper.model import WhisperModel, WhisperRequest
from services.inference.models.whisper.prompts import Task
from services.inference.transcript import WindowResult
from services.inference.triton import wire
from tests.inference.conftest import Heard
from tests.inference.triton.asking import ANSWER_SECONDS, Asker, asker
from tests.inference.triton.conftest import windows_of
from tests.triton_server import triton_server

pytestmark = pytest.mark.asyncio(loop_scope="module")
DIRECTORY = "STENO_TRITON_MODELS_DIRECTORY"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def triton(tmp_path_factory: pytest.TempPathFactory, models_directory: Path) -> AsyncIterator[Asker]:
    """A server with all of our models."""
    folder = tmp_path_factory.mktemp("triton")
    async with triton_server(folder, variables={DIRECTORY: str(models_directory)}) as running, asker(running) as asking:
        yield asking


async def test_windows_are_transcribed_as_in_this_process(triton: Asker, whisper: WhisperModel, meeting: Heard) -> None:
    tasks = [Task("en", text="as we said"), Task("es", True, True), Task(None, hotwords="Ada"), Task("es"), Task(None, timestamps=True)]
    requests = [
        WhisperRequest(pcm, task, temperature)
        for pcm, task, temperature in zip(windows_of(meeting.pcm, 5), tasks, (0.0, 0.0, 0.4, 1.0, 0.0), strict=True)
    ]
    asked = [
        wire.WindowTry(
            one.pcm, one.task.language, one.task.text, one.task.hotwords, one.task.translate, one.task.timestamps, one.temperature
        )
        for one in requests
    ]
    inputs = [wire.encode_window(one) for one in asked]
    alone = [wire.decode_result(await triton.ask(wire.WHISPER, one)) for one in inputs]
    known = [result.window for request in requests for result in whisper.transcribe_once([request]) if result is not None]
    assert alone == known
    assert any(window.words for window in known)
    # In company sums are taken in another order: the last bits of a probability may differ, and nothing else.
    together = [wire.decode_result(answer) for answer in await asyncio.gather(*(triton.ask(wire.WHISPER, one) for one in inputs))]
    assert [_said(window) for window in together] == [_said(window) for window in known]


def _said(window: WindowResult) -> tuple[object, ...]:
    words = [(word.text, word.start_ms, word.end_ms) for word in window.words]
    return window.text, words, window.language, window.temperature, window.verdict, round(window.average_log_probability or 0, 4)


async def test_whisper_says_what_it_runs(triton: Asker) -> None:
    answer = await triton.ask(wire.WHISPER, wire.encode_description_request())
    assert wire.decode_description(answer) == wire.WhisperDescription("steno-whisper-test", "fp32", "cpu", ("en", "es"), False)


async def test_speech_is_found_as_in_this_process_piece_by_piece(triton: Asker, vad: SileroVad, meeting: Heard) -> None:
    pcm = np.concatenate([meeting.pcm] * 2)[: 100 * 16_000 + 77]
    known, known_state = vad.speech_probabilities(pcm, VadState(gain=1.7))
    found, state = [], VadState(gain=1.7)
    for piece in wire.vad_pieces(pcm):
        probabilities, state = wire.decode_probabilities(await triton.ask(wire.VAD, wire.encode_piece(piece, state)), piece, state)
        found.append(probabilities)
    assert len(found) == 2
    np.testing.assert_array_equal(np.concatenate(found), known)
    np.testing.assert_array_equal(state.hidden, known_state.hidden)
    np.testing.assert_array_equal(state.context, known_state.context)
    assert state.ended


async def test_voices_are_embedded_as_in_this_process(triton: Asker, meeting: Heard) -> None:
    spans = [(start_ms, start_ms + 2_000) for start_ms in range(0, 40_000, 500)] + [(40_000, 40_700)]
    pcm = meeting.pcm[: 42 * 16_000]
    answer = await triton.ask(wire.SPEAKER, wire.encode_stretch(pcm, spans, 2.5))
    np.testing.assert_array_equal(wire.decode_embeddings(answer, len(spans)), load_speaker_encoder().embed(pcm, spans, 2.5))


@pytest.mark.parametrize("model", [wire.WHISPER, wire.VAD, wire.SPEAKER])
async def test_requests_that_come_at_once_share_a_batch(model: str, triton: Asker, meeting: Heard) -> None:
    inputs = {
        wire.WHISPER: [wire.encode_window(wire.WindowTry(pcm, "en")) for pcm in windows_of(meeting.pcm, 8)],
        wire.VAD: [wire.encode_piece(meeting.pcm[: wire.VAD_SAMPLES], VadState(gain)) for gain in (1, 2, 3, 4, 5, 6, 7, 8)],
        wire.SPEAKER: [wire.encode_stretch(pcm, [(0, 2_000)] * 50, 1.0) for pcm in windows_of(meeting.pcm, 8)],
    }[model]
    before = await triton.batches(model)
    await asyncio.gather(*(triton.ask(model, one) for one in inputs))
    batches = await triton.until_counted(model, before, 8)
    assert max(batches) > 1


async def test_bad_request_fails_alone_in_its_batch(triton: Asker, whisper: WhisperModel, meeting: Heard) -> None:
    pcm = windows_of(meeting.pcm, 1)[0]
    good = wire.encode_window(wire.WindowTry(pcm, "en"))
    bad = [
        wire.encode_window(wire.WindowTry(pcm, "xx")),
        {**good, "PARAMETERS": np.array([[b"{"]], np.object_)},
        {**good, "PARAMETERS": np.array([[b'{"language": "\\ud800"}']], np.object_)},
        {**good, "SAMPLES": np.array([[480_001]], np.int32)},
        wire.encode_window(wire.WindowTry(pcm, "en", temperature=1.5)),
    ]
    answers = await asyncio.gather(*(triton.ask(wire.WHISPER, one) for one in (good, *bad, good)), return_exceptions=True)
    (known,) = whisper.transcribe([WhisperRequest(pcm, Task("en"))])
    for answer in (answers[0], answers[-1]):
        assert isinstance(answer, dict)
        assert wire.decode_result(answer).language == known.window.language
    refusals = [answer for answer in answers[1:-1] if isinstance(answer, InferenceServerException)]
    assert [refusal.status() for refusal in refusals] == ["StatusCode.INVALID_ARGUMENT"] * len(bad)
    assert wire.UNKNOWN_LANGUAGE in str(refusals[0].message())


async def test_cancelled_window_leaves_its_batch(triton: Asker, meeting: Heard) -> None:
    window = wire.encode_window(wire.WindowTry(meeting.pcm[: 30 * 16_000], "en"))
    before = await triton.outcomes(wire.WHISPER)
    asked = [asyncio.create_task(triton.ask(wire.WHISPER, window), name=f"window {place}") for place in range(12)]
    await triton.until_waiting(wire.WHISPER, 1)
    for task in asked[:-1]:
        task.cancel()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    after = await triton.outcomes(wire.WHISPER)
    assert isinstance(answers[-1], dict)
    assert after["cancelled"] > before["cancelled"]
    assert after["failed"] == before["failed"]


async def test_full_queue_refuses_and_keeps_its_promises(
    tmp_path: Path, models_directory: Path, changed_repository: Callable[[str, str, str], Path], meeting: Heard
) -> None:
    repository = changed_repository("whisper", "max_queue_size: 64", "max_queue_size: 2")
    window = wire.encode_window(wire.WindowTry(meeting.pcm[: 10 * 16_000], "en"))
    variables = {DIRECTORY: str(models_directory)}
    async with triton_server(tmp_path / "triton", repository=repository, models=["whisper"], variables=variables) as running:
        async with asker(running) as asking:
            answers = await asyncio.gather(*(asking.ask(wire.WHISPER, window) for _ in range(30)), return_exceptions=True)
            answered = [answer for answer in answers if isinstance(answer, dict)]
            refused = [answer for answer in answers if isinstance(answer, InferenceServerException)]
            assert len(answered) + len(refused) == 30
            assert answered
            assert refused
            assert {refusal.status() for refusal in refused} == {"StatusCode.UNAVAILABLE"}
            assert all(re.search("queue size", str(refusal.message())) for refusal in refused)
            assert await asking.ask(wire.WHISPER, window)


async def test_urgent_window_goes_before_those_that_wait(triton: Asker, meeting: Heard) -> None:
    window = wire.encode_window(wire.WindowTry(meeting.pcm[: 30 * 16_000], "en"))
    order: list[str] = []

    async def ask(name: str, priority: int) -> None:
        await triton.ask(wire.WHISPER, window, priority)
        order.append(name)

    async with asyncio.timeout(ANSWER_SECONDS), asyncio.TaskGroup() as tasks:
        for place in range(24):
            tasks.create_task(ask("patient", 3), name=f"patient {place}")
        waiting = await triton.until_waiting(wire.WHISPER, 12)
        tasks.create_task(ask("urgent", 1), name="urgent")
    # It is in the batch that follows: at most seven of those that waited are answered with it.
    assert order.index("urgent") < 24 - waiting + 8
