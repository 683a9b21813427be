"""The forms in which a model's graphs are kept."""

from enum import StrEnum
from pathlib import Path

GRAPHS_FOLDER = "onnx"
ENCODER_FILE = "encoder.onnx"
DECODER_FILE = "decoder.onnx"
ROWS_FILE = "rows.onnx"
# Counts the changes that keep older graphs from running; raise it with each, and installed models ask to be exported again.
GRAPHS_VERSION = 1


class Precision(StrEnum):
    """fp32: the reference. fp16: for CUDA. int8: weights of one byte and activations rounded on the way, for CPUs."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


def graphs_folder(folder: Path, precision: Precision) -> Path:
    """Where a model folder keeps its graphs."""
    return folder / GRAPHS_FOLDER / precision
