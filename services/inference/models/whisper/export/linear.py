"""How the products with weights are computed: in floats, or with weights of one byte."""

import numpy as np
import numpy.typing as npt

from services.inference.models.whisper.export.builder import CONTRIBUTED, GraphBuilder
from services.inference.pcm import Floats

BLOCK_SIZES = (128, 64, 32, 16)
INT8_LEVEL = 4
INT8_STEPS = 127
ZERO_POINT = 128


def float_linear(builder: GraphBuilder, x: str, weight: Floats, bias: Floats | None) -> str:
    """In the graph's float type."""
    product = builder.add("MatMul", x, builder.floats(weight.T))
    return product if bias is None else builder.add("Add", product, builder.floats(bias))


def per_call_int8_linear(builder: GraphBuilder, x: str, weight: Floats, bias: Floats | None) -> str:
    """One scale per output for the weights, one per call for the activations.

    The fastest for many rows. Rows of one call share a scale, so callers give it one window at a time: what
    else is in a batch never changes a transcript.
    """
    scales = np.maximum(np.abs(weight).max(axis=1), np.finfo(np.float32).tiny) / INT8_STEPS
    rounded = np.round(weight / scales[:, None]).astype(np.int8)
    inputs = [x, builder.constant(rounded.T), builder.constant(scales.astype(np.float32))]
    if bias is not None:
        inputs += ["", builder.constant(bias)]
    return builder.add("DynamicQuantizeMatMul", *inputs, domain=CONTRIBUTED)


def per_row_int8_linear(builder: GraphBuilder, x: str, weight: Floats, bias: Floats | None) -> str:
    """Scales per block of up to 128 inputs, and as many per row for the activations.

    Twice as fast for one row as a scale per call, half as fast for a thousand; rows are independent of each other.
    """
    blocks, scales = block_quantized(weight)
    product = block_product(builder, x, builder.constant(blocks), builder.constant(scales.ravel()), blocks.shape)
    return product if bias is None else builder.add("Add", product, builder.constant(bias))


def block_product(builder: GraphBuilder, x: str, blocks: str, scales: str, shape: tuple[int, ...]) -> str:
    """x times the transpose of weights that `block_quantized` made. shape: of the blocks."""
    sizes = {"N": shape[0], "K": shape[1] * shape[2], "block_size": shape[2]}
    return builder.add("MatMulNBits", x, blocks, scales, domain=CONTRIBUTED, bits=8, accuracy_level=INT8_LEVEL, **sizes)


def block_quantized(weight: Floats) -> tuple[npt.NDArray[np.uint8], Floats]:
    """(outputs, blocks, block size) bytes around 128, and (outputs, blocks) scales.

    weight: (outputs, inputs). Raises ValueError when the inputs are no multiple of 16.
    """
    outputs, inputs = weight.shape
    size = next((size for size in BLOCK_SIZES if inputs % size == 0), None)
    if size is None:
        raise ValueError(f"{inputs} inputs make no whole blocks")
    blocks = weight.reshape(outputs, inputs // size, size)
    scales = np.maximum(np.abs(blocks).max(axis=2), np.finfo(np.float32).tiny) / np.float32(INT8_STEPS)
    rounded = np.round(blocks / scales[:, :, None]) + ZERO_POINT
    return rounded.astype(np.uint8), np.asarray(scales, np.float32)
