"""The tensors between the service and the models that Triton runs: one request, one row of a batch.

Every array of a request has a first axis of 1, the batch's; the sizes below are without it. Shapes never vary, for requests of different
shapes never share a batch: PCM is padded with zeros, and SAMPLES says how much of it counts. BYTES holds JSON in UTF-8.

whisper: PCM INT16 [480000], SAMPLES INT32 [1], PARAMETERS BYTES [1] -> RESULT BYTES [1].
vad: PCM INT16 [960000], SAMPLES INT32 [1], GAIN FP32 [1], HIDDEN FP32 [128], CELL FP32 [128], CONTEXT FP32 [64]
    -> PROBABILITIES FP32 [1875], NEXT_HIDDEN FP32 [128], NEXT_CELL FP32 [128], NEXT_CONTEXT FP32 [64].
speaker: PCM INT16 [976000], SAMPLES INT32 [1], GAIN FP32 [1], SPANS INT32 [128, 2], COUNT INT32 [1] -> EMBEDDINGS FP32 [128, 256].
pyannote, whose requests are whole files and never share a batch, without the first axis: PCM INT16 [samples], PARAMETERS BYTES [1]
    -> RESULT BYTES [1].
detector-<id>, like that one a request at a time: FEATURES FP16 [frames, features] -> SCORES FP32 [frames, types], ARTIFACT_TYPES BYTES [1].
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from services.inference.models.vad_state import CONTEXT_SAMPLES, VadState
from services.inference.pcm import SAMPLE_RATE_HZ, Features, Floats, Pcm
from services.inference.transcript import Turn, Verdict, WindowResult, Word

WHISPER, VAD, SPEAKER, PYANNOTE = "whisper", "vad", "speaker", "pyannote"
# Beside the program of a detector's model.
DETECTOR_FILE = "detector.onnx"

WINDOW_SAMPLES = 30 * SAMPLE_RATE_HZ
VAD_SAMPLES = 60 * SAMPLE_RATE_HZ
FRAME_SAMPLES = 512
FRAMES = VAD_SAMPLES // FRAME_SAMPLES
STATE_SIZE = 128
STRETCH_SAMPLES = 61 * SAMPLE_RATE_HZ
MOST_SPANS = 128
EMBEDDING_SIZE = 256
RECORDING_SAMPLES = 4 * 3_600 * SAMPLE_RATE_HZ

# Of a request, many times what its prompt and hotwords are good for: longer ones would hold up a batch.
MOST_PARAMETERS_BYTES = 65_536
# How a refusal of `whisper` begins.
UNKNOWN_LANGUAGE = "UNKNOWN_LANGUAGE"
# Triton's priorities are 1, 2, 3, the first before the others.
PRIORITY_LEVELS = 3

Arrays = Mapping[str, npt.NDArray[Any]]


class BadRequest(ValueError):
    """A request that the model cannot have meant for it; asking again will not help."""


@dataclass(frozen=True, slots=True)
class WindowTry:
    """One try of one window at one temperature.

    pcm: at most 30 s. language: None to find out; name what the first try found when trying again. prompt: what was said before.
    hotwords: names and terms. The two share one budget of tokens.
    """

    pcm: Pcm
    language: str | None = None
    prompt: str = ""
    hotwords: str = ""
    translate: bool = False
    timestamps: bool = False
    temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class WhisperDescription:
    """What the `whisper` model runs. device: cpu or cuda; languages: ISO 639-1; translates: into English."""

    model: str
    precision: str
    device: str
    languages: tuple[str, ...]
    translates: bool


@dataclass(frozen=True, slots=True)
class SpeakerCount:
    """What is known of how many people speak; None for nothing."""

    num_speakers: int | None = None
    min_speakers: int | None = None
    max_speakers: int | None = None


def encode_window(window: WindowTry) -> dict[str, npt.NDArray[Any]]:
    """The inputs of `whisper`. Raises BadRequest past 30 s."""
    parameters = {
        "language": window.language,
        "prompt": window.prompt,
        "hotwords": window.hotwords,
        "translate": window.translate,
        "timestamps": window.timestamps,
        "temperature": window.temperature,
    }
    return _pcm(window.pcm, WINDOW_SAMPLES) | {"PARAMETERS": _json(parameters)}


def decode_window(inputs: Arrays) -> WindowTry:
    """What `encode_window` was given. Raises BadRequest."""
    parameters = _parameters(inputs)
    language, temperature = parameters.pop("language", None), parameters.pop("temperature", 0.0)
    kinds = {"prompt": str, "hotwords": str, "translate": bool, "timestamps": bool}
    for name, value in parameters.items():
        if name not in kinds or not isinstance(value, kinds[name]):
            raise BadRequest(f"parameter {name} is unknown or of the wrong type")
    if not (language is None or isinstance(language, str)):
        raise BadRequest("language is no string")
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 <= temperature <= 1:
        raise BadRequest("temperature lies between 0 and 1")
    return WindowTry(_counted_pcm(inputs), language, temperature=float(temperature), **parameters)


def encode_description_request() -> dict[str, npt.NDArray[Any]]:
    """The inputs of `whisper` that ask what it is."""
    return _pcm(np.zeros(0, np.int16), WINDOW_SAMPLES) | {"PARAMETERS": _json({"describe": True})}


def asks_for_description(inputs: Arrays) -> bool:
    """Whether a request of `whisper` asks what it is. Raises BadRequest."""
    return _parameters(inputs).get("describe") is True


def encode_description(description: WhisperDescription) -> dict[str, npt.NDArray[Any]]:
    """The output of `whisper` to that."""
    return {"RESULT": _json(asdict(description))}


def decode_description(outputs: Arrays) -> WhisperDescription:
    """What `encode_description` was given."""
    found = _object(outputs, "RESULT")
    return WhisperDescription(**{**found, "languages": tuple(found["languages"])})


def encode_result(result: WindowResult) -> dict[str, npt.NDArray[Any]]:
    """The output of `whisper`; probabilities and times as they are, to the last bit."""
    words = [
        {"text": word.text, "start_ms": word.start_ms, "end_ms": word.end_ms, "probability": word.probability} for word in result.words
    ]
    found = {
        "text": result.text,
        "words": words,
        "language": result.language,
        "language_probabilities": dict(result.language_probabilities),
        "avg_logprob": result.average_log_probability,
        "no_speech_prob": result.no_speech_probability,
        "compression_ratio": result.compression_ratio,
        "temperature": result.temperature,
        "verdict": result.verdict,
    }
    return {"RESULT": _json(found)}


def decode_result(outputs: Arrays) -> WindowResult:
    """What `encode_result` was given."""
    found = _object(outputs, "RESULT")
    return WindowResult(
        text=found["text"],
        words=tuple(Word(**word) for word in found["words"]),
        language=found["language"],
        language_probabilities=found["language_probabilities"],
        average_log_probability=found["avg_logprob"],
        no_speech_probability=found["no_speech_prob"],
        compression_ratio=found["compression_ratio"],
        temperature=found["temperature"],
        verdict=None if found["verdict"] is None else Verdict(found["verdict"]),
    )


def vad_pieces(pcm: Pcm) -> Iterator[Pcm]:
    """Pieces of at most 60 s, each a request of `vad` whose state is the answer to the one before."""
    for start in range(0, len(pcm), VAD_SAMPLES):
        yield pcm[start : start + VAD_SAMPLES]


def encode_piece(pcm: Pcm, state: VadState) -> dict[str, npt.NDArray[Any]]:
    """The inputs of `vad`. Raises BadRequest past 60 s, and for a piece after one that was no whole number of frames."""
    if state.ended and len(pcm):
        raise BadRequest("only the last piece may be no whole number of frames")
    return _pcm(pcm, VAD_SAMPLES) | {
        "GAIN": np.array([[state.gain]], np.float32),
        "HIDDEN": state.hidden.reshape(1, STATE_SIZE),
        "CELL": state.cell.reshape(1, STATE_SIZE),
        "CONTEXT": state.context.reshape(1, CONTEXT_SAMPLES),
    }


def decode_piece(inputs: Arrays) -> tuple[Pcm, VadState]:
    """What `encode_piece` was given. Raises BadRequest."""
    gain = float(inputs["GAIN"][0, 0])
    if not np.isfinite(gain):
        raise BadRequest("gain is no number")
    return _counted_pcm(inputs), replace(
        VadState(gain), hidden=_state(inputs["HIDDEN"]), cell=_state(inputs["CELL"]), context=inputs["CONTEXT"].reshape(CONTEXT_SAMPLES)
    )


def encode_probabilities(probabilities: Floats, state: VadState) -> dict[str, npt.NDArray[Any]]:
    """The outputs of `vad`."""
    padded = np.zeros((1, FRAMES), np.float32)
    padded[0, : len(probabilities)] = probabilities
    return {
        "PROBABILITIES": padded,
        "NEXT_HIDDEN": state.hidden.reshape(1, STATE_SIZE),
        "NEXT_CELL": state.cell.reshape(1, STATE_SIZE),
        "NEXT_CONTEXT": state.context.reshape(1, CONTEXT_SAMPLES),
    }


def decode_probabilities(outputs: Arrays, pcm: Pcm, before: VadState) -> tuple[Floats, VadState]:
    """Probability of speech per 32 ms of the piece that was asked about, and the state for the next."""
    frames = -(-len(pcm) // FRAME_SAMPLES)
    state = replace(
        before,
        hidden=_state(outputs["NEXT_HIDDEN"]),
        cell=_state(outputs["NEXT_CELL"]),
        context=outputs["NEXT_CONTEXT"].reshape(CONTEXT_SAMPLES),
        ended=before.ended or len(pcm) % FRAME_SAMPLES != 0,
    )
    return outputs["PROBABILITIES"][0, :frames], state


def span_groups(spans: Sequence[tuple[int, int]]) -> Iterator[Sequence[tuple[int, int]]]:
    """Spans of one stretch, as many as a request of `speaker` holds."""
    for start in range(0, len(spans), MOST_SPANS):
        yield spans[start : start + MOST_SPANS]


def encode_stretch(pcm: Pcm, spans: Sequence[tuple[int, int]], gain: float) -> dict[str, npt.NDArray[Any]]:
    """The inputs of `speaker`. spans: [start_ms, end_ms) in `pcm`. Raises BadRequest past 61 s or 128 spans."""
    if len(spans) > MOST_SPANS:
        raise BadRequest(f"{len(spans)} spans are more than {MOST_SPANS}")
    padded = np.zeros((1, MOST_SPANS, 2), np.int32)
    padded[0, : len(spans)] = np.array(spans, np.int32).reshape(-1, 2)
    count = np.array([[len(spans)]], np.int32)
    return _pcm(pcm, STRETCH_SAMPLES) | {"GAIN": np.array([[gain]], np.float32), "SPANS": padded, "COUNT": count}


def decode_stretch(inputs: Arrays) -> tuple[Pcm, list[tuple[int, int]], float]:
    """What `encode_stretch` was given. Raises BadRequest."""
    count, gain = int(inputs["COUNT"][0, 0]), float(inputs["GAIN"][0, 0])
    if not 0 <= count <= MOST_SPANS or not np.isfinite(gain):
        raise BadRequest("count or gain is out of range")
    spans = [(int(start_ms), int(end_ms)) for start_ms, end_ms in inputs["SPANS"][0, :count]]
    if any(not 0 <= start_ms < end_ms for start_ms, end_ms in spans):
        raise BadRequest("a span ends before it starts")
    return _counted_pcm(inputs), spans, gain


def encode_embeddings(embeddings: Floats) -> dict[str, npt.NDArray[Any]]:
    """The output of `speaker`."""
    padded = np.zeros((1, MOST_SPANS, EMBEDDING_SIZE), np.float32)
    padded[0, : len(embeddings)] = embeddings
    return {"EMBEDDINGS": padded}


def decode_embeddings(outputs: Arrays, spans: int) -> Floats:
    """(spans, 256), a row per span that was asked for."""
    return np.asarray(outputs["EMBEDDINGS"][0, :spans])


def encode_recording(pcm: Pcm, speakers: SpeakerCount) -> dict[str, npt.NDArray[Any]]:
    """The inputs of `pyannote`. Raises BadRequest past 4 h."""
    if len(pcm) > RECORDING_SAMPLES:
        raise BadRequest(f"{len(pcm)} samples are more than {RECORDING_SAMPLES}")
    return {"PCM": pcm, "PARAMETERS": _json(asdict(speakers))[0]}


def decode_recording(inputs: Arrays) -> tuple[Pcm, SpeakerCount]:
    """What `encode_recording` was given. Raises BadRequest."""
    found = _parameters({"PARAMETERS": inputs["PARAMETERS"][None]})
    if not set(found) <= set(SpeakerCount.__slots__) or not all(
        value is None or (type(value) is int and value > 0) for value in found.values()
    ):
        raise BadRequest("numbers of speakers are positive")
    if len(inputs["PCM"]) > RECORDING_SAMPLES:
        raise BadRequest(f"{len(inputs['PCM'])} samples are more than {RECORDING_SAMPLES}")
    return inputs["PCM"], SpeakerCount(**found)


def encode_turns(turns: Sequence[Turn]) -> dict[str, npt.NDArray[Any]]:
    """The output of `pyannote`."""
    return {"RESULT": _json({"turns": [asdict(turn) for turn in turns]})[0]}


def decode_turns(outputs: Arrays) -> list[Turn]:
    """What `encode_turns` was given."""
    return [Turn(**turn) for turn in _object({"RESULT": outputs["RESULT"][None]}, "RESULT")["turns"]]


def encode_features(features: Features) -> dict[str, npt.NDArray[Any]]:
    """The input of a detector."""
    return {"FEATURES": np.ascontiguousarray(features, np.float16)}


def decode_features(inputs: Arrays, feature_count: int) -> Features:
    """What `encode_features` was given. Raises BadRequest."""
    features = inputs["FEATURES"]
    if features.ndim != 2 or features.shape[1] != feature_count:
        raise BadRequest(f"features of shape {features.shape} are no frames of {feature_count}")
    return np.asarray(features, np.float16)


def encode_scores(artifact_types: Sequence[str], scores: Floats) -> dict[str, npt.NDArray[Any]]:
    """The outputs of a detector."""
    return {"SCORES": np.ascontiguousarray(scores, np.float32), "ARTIFACT_TYPES": _json({"artifact_types": list(artifact_types)})[0]}


def decode_scores(outputs: Arrays) -> tuple[tuple[str, ...], Floats]:
    """What `encode_scores` was given."""
    types = _object({"ARTIFACT_TYPES": outputs["ARTIFACT_TYPES"][None]}, "ARTIFACT_TYPES")["artifact_types"]
    return tuple(types), np.asarray(outputs["SCORES"], np.float32)


def _pcm(pcm: Pcm, most_samples: int) -> dict[str, npt.NDArray[Any]]:
    if len(pcm) > most_samples:
        raise BadRequest(f"{len(pcm)} samples are more than {most_samples}")
    padded = np.zeros((1, most_samples), np.int16)
    padded[0, : len(pcm)] = pcm
    return {"PCM": padded, "SAMPLES": np.array([[len(pcm)]], np.int32)}


def _counted_pcm(inputs: Arrays) -> Pcm:
    samples, pcm = int(inputs["SAMPLES"][0, 0]), inputs["PCM"]
    if len(pcm) != 1:
        raise BadRequest("a request is one row")
    if not 0 <= samples <= pcm.shape[1]:
        raise BadRequest(f"{samples} samples are not in {pcm.shape[1]}")
    return np.asarray(pcm[0, :samples])


def _state(array: npt.NDArray[Any]) -> Floats:
    return np.asarray(array.reshape(1, 1, STATE_SIZE), np.float32)


def _json(value: Mapping[str, Any]) -> npt.NDArray[Any]:
    return np.array([[json.dumps(value, ensure_ascii=False).encode()]], np.object_)


def _parameters(inputs: Arrays) -> dict[str, Any]:
    text = inputs["PARAMETERS"][0, 0]
    if len(text) > MOST_PARAMETERS_BYTES:
        raise BadRequest(f"PARAMETERS are {len(text)} bytes, more than {MOST_PARAMETERS_BYTES}")
    found = _object(inputs, "PARAMETERS")
    try:
        _json(found)
    except UnicodeEncodeError as error:
        # Neither the tokenizer nor Triton's messages take it: the whole batch would fail.
        raise BadRequest("PARAMETERS hold half a character") from error
    return found


def _object(arrays: Arrays, name: str) -> dict[str, Any]:
    try:
        found = json.loads(arrays[name][0, 0])
    except (RecursionError, ValueError) as error:
        raise BadRequest(f"{name} is no JSON") from error
    if not isinstance(found, dict):
        raise BadRequest(f"{name} is no JSON object")
    return found
