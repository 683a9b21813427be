"""What one side writes the other reads, and what nobody can have meant is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from services.inference.models.vad_state import VadState
from services.inference.transcript import Turn, Verdict, WindowResult, Word
from services.inference.triton import wire

PCM = np.arange(-700, 700, dtype=np.int16)
RESULT = WindowResult(
    text="Él dijo «sí».",
    words=(Word("Él", 0, 120, 0.1 + 0.2), Word("dijo", 120, 480, None)),
    language="es",
    average_log_probability=-1 / 3,
    no_speech_probability=1e-17,
    compression_ratio=0.7,
    temperature=0.6000000000000001,
    verdict=Verdict.DOUBTFUL,
    language_probabilities={"es": 0.9, "pt": 1 / 30},
)


def test_window_arrives_as_it_was_sent() -> None:
    window = wire.WindowTry(PCM, "es", "¿qué?", "Ana, Bo", True, True, 0.4)
    inputs = wire.encode_window(window)
    assert {name: (array.dtype, array.shape) for name, array in inputs.items()} == {
        "PCM": (np.dtype(np.int16), (1, 480_000)),
        "SAMPLES": (np.dtype(np.int32), (1, 1)),
        "PARAMETERS": (np.dtype(np.object_), (1, 1)),
    }
    found = wire.decode_window(inputs)
    np.testing.assert_array_equal(found.pcm, PCM)
    assert replace(found, pcm=PCM) == window
    assert not wire.asks_for_description(inputs)


@pytest.mark.parametrize("result", [RESULT, WindowResult("")])
def test_result_arrives_to_the_last_bit(result: WindowResult) -> None:
    assert wire.decode_result(wire.encode_result(result)) == result


def test_description_arrives_as_it_was_sent() -> None:
    description = wire.WhisperDescription("small", "int8", "cpu", ("en", "es"), True)
    assert wire.asks_for_description(wire.encode_description_request())
    assert wire.decode_description(wire.encode_description(description)) == description


def test_state_of_voice_activity_arrives_to_the_last_bit() -> None:
    generator = np.random.default_rng(1)
    hidden, cell = (generator.standard_normal((1, 1, 128)).astype(np.float32) for _ in range(2))
    state = VadState(2.5, hidden, cell, generator.standard_normal(64).astype(np.float32))
    pcm, found = wire.decode_piece(wire.encode_piece(PCM, state))
    np.testing.assert_array_equal(pcm, PCM)
    probabilities, after = wire.decode_probabilities(wire.encode_probabilities(np.ones(3, np.float32), found), PCM, state)
    assert probabilities.tolist() == [1, 1, 1]
    assert after.ended
    for name in ("gain", "hidden", "cell", "context"):
        np.testing.assert_array_equal(getattr(after, name), getattr(state, name))
    with pytest.raises(wire.BadRequest):
        wire.encode_piece(PCM, after)


def test_long_audio_and_many_spans_are_cut_to_what_a_request_holds() -> None:
    pieces = list(wire.vad_pieces(np.zeros(2 * wire.VAD_SAMPLES + 5, np.int16)))
    assert [len(piece) for piece in pieces] == [wire.VAD_SAMPLES, wire.VAD_SAMPLES, 5]
    spans = [(start_ms, start_ms + 500) for start_ms in range(300)]
    assert [span for group in wire.span_groups(spans) for span in group] == spans
    assert max(len(group) for group in wire.span_groups(spans)) <= wire.MOST_SPANS


def test_stretch_arrives_as_it_was_sent() -> None:
    pcm, spans, gain = wire.decode_stretch(wire.encode_stretch(PCM, [(0, 40), (20, 80)], 0.5))
    np.testing.assert_array_equal(pcm, PCM)
    assert (spans, gain) == ([(0, 40), (20, 80)], 0.5)
    rows = np.random.default_rng(2).standard_normal((2, 256)).astype(np.float32)
    np.testing.assert_array_equal(wire.decode_embeddings(wire.encode_embeddings(rows), 2), rows)


def test_recording_and_turns_arrive_as_they_were_sent() -> None:
    pcm, speakers = wire.decode_recording(wire.encode_recording(PCM, wire.SpeakerCount(max_speakers=3)))
    np.testing.assert_array_equal(pcm, PCM)
    assert speakers == wire.SpeakerCount(max_speakers=3)
    turns = [Turn(0, 900, 0), Turn(500, 1_200, 1)]
    assert wire.decode_turns(wire.encode_turns(turns)) == turns


def test_too_much_for_a_request_is_refused_before_it_is_sent() -> None:
    with pytest.raises(wire.BadRequest):
        wire.encode_window(wire.WindowTry(np.zeros(480_001, np.int16)))
    with pytest.raises(wire.BadRequest):
        wire.encode_piece(np.zeros(960_001, np.int16), VadState())
    with pytest.raises(wire.BadRequest):
        wire.encode_stretch(PCM, [(0, 1)] * 129, 1.0)
    with pytest.raises(wire.BadRequest):
        wire.encode_recording(np.zeros(wire.RECORDING_SAMPLES + 1, np.int16), wire.SpeakerCount())


@pytest.mark.parametrize(
    "parameters",
    [
        b"[]",
        b"\xff",
        b'{"temperature": -0.1}',
        b'{"temperature": true}',
        b'{"language": 7}',
        b'{"prompt": null}',
        b'{"translate": 1}',
        b'{"unknown": 1}',
        b'{"prompt": "\\ud800"}',
        b'{"\\udfff": 1}',
        b"[" * 60_000,
        b'{"prompt": "%s"}' % (b"a" * 65_536),
    ],
    ids=lambda parameters: parameters[:24].decode(errors="replace"),
)
def test_parameters_that_nobody_meant_are_refused(parameters: bytes) -> None:
    with pytest.raises(wire.BadRequest) as refused:
        wire.decode_window({**wire.encode_window(wire.WindowTry(PCM)), "PARAMETERS": np.array([[parameters]], np.object_)})
    assert str(refused.value).encode(), "Triton's messages are UTF-8"


@pytest.mark.parametrize(
    "changed",
    [
        {"SAMPLES": np.array([[-1]], np.int32)},
        {"COUNT": np.array([[129]], np.int32)},
        {"GAIN": np.array([[np.nan]], np.float32)},
        {"SPANS": np.ones((1, 128, 2), np.int32)},
        {"PCM": np.zeros((2, wire.STRETCH_SAMPLES), np.int16)},
    ],
)
def test_stretches_that_nobody_meant_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(wire.BadRequest):
        wire.decode_stretch({**wire.encode_stretch(PCM, [(0, 40)], 1.0), **changed})


@pytest.mark.parametrize("parameters", [b'{"num_speakers": 0}', b'{"num_speakers": "2"}', b'{"most": 2}'])
def test_numbers_of_speakers_that_nobody_meant_are_refused(parameters: bytes) -> None:
    with pytest.raises(wire.BadRequest):
        wire.decode_recording({"PCM": PCM, "PARAMETERS": np.array([parameters], np.object_)})
