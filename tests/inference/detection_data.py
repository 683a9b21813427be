"""Recordings with loud moments, a detector that hears those, and features as storage keeps them."""

import io
import json
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from services.detection.features import FEATURE_COUNT, FRAME_MS, VERSION
from services.detection.waveform import STATISTIC_COUNT
from services.inference.pcm import SAMPLE_RATE_HZ, SAMPLES_PER_MS, Pcm

LOUD, QUIET = "loud", "quiet"
# The second of the statistics, which come last.
_LOUDNESS_COLUMN = FEATURE_COUNT - STATISTIC_COUNT + 1
_STEEPNESS = 8.0
# Root mean squares above and below which a frame is called loud or quiet.
_LOUD_FROM, _QUIET_TO = 0.1, 0.003


def noise(seconds: float, loud_ms: Sequence[tuple[int, int]] = (), seed: int = 1) -> Pcm:
    """Noise of middle loudness, much louder in the spans."""
    levels = np.full(int(seconds * SAMPLE_RATE_HZ), 600.0)
    for start_ms, end_ms in loud_ms:
        levels[start_ms * SAMPLES_PER_MS : end_ms * SAMPLES_PER_MS] = 9_000.0
    return np.asarray(np.clip(np.random.default_rng(seed).normal(0.0, 1.0, len(levels)) * levels, -32_768, 32_767), np.int16)


def wav(pcm: Pcm) -> bytes:
    """The samples as a file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE_HZ)
        writer.writeframes(pcm.astype("<i2").tobytes())
    return file.getvalue()


def detector() -> bytes:
    """An ONNX detector of loud and of quiet frames: their root mean square through a steep sigmoid."""
    weights = np.zeros((FEATURE_COUNT, 2), np.float32)
    weights[_LOUDNESS_COLUMN] = (_STEEPNESS, -_STEEPNESS)
    bias = np.array([-_STEEPNESS * np.log(_LOUD_FROM), _STEEPNESS * np.log(_QUIET_TO)], np.float32)
    nodes = [
        helper.make_node("MatMul", ["features", "weights"], ["products"]),
        helper.make_node("Add", ["products", "bias"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["scores"]),
    ]
    constants = [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")]
    before = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", "frames", FEATURE_COUNT])
    after = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", "frames", 2])
    model = helper.make_model(
        helper.make_graph(nodes, "loudness", [before], [after], constants), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    facts = {"artifact_types": [LOUD, QUIET], "thresholds": [0.5, 0.5], "features_version": VERSION, "frame_ms": FRAME_MS}
    helper.set_model_props(model, {name: json.dumps(value) for name, value in {**facts, "context_frames": 0}.items()})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def write_detector(path: Path) -> Path:
    """The detector as a file."""
    path.write_bytes(detector())
    return path


def npy(features: npt.NDArray[np.float16]) -> bytes:
    """The bytes of a file of features."""
    file = io.BytesIO()
    np.save(file, features)
    return file.getvalue()
