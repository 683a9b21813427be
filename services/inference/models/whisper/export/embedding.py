"""The table that turns tokens into vectors and vectors into logits, stored once for both."""

from typing import Protocol

import numpy as np
from onnx import TensorProto

from services.inference.models.whisper.export.builder import GraphBuilder
from services.inference.models.whisper.export.linear import ZERO_POINT, block_product, block_quantized
from services.inference.pcm import Floats


class Embedding(Protocol):
    """Both uses of the table."""

    def look_up(self, tokens: str) -> str:
        """(batch, length) tokens to (batch, length, width)."""

    def logits(self, x: str) -> str:
        """(batch, reads, width) to (batch, reads, vocabulary)."""


class FloatEmbedding:
    """The table in the graph's float type."""

    def __init__(self, builder: GraphBuilder, table: Floats) -> None:
        self._builder = builder
        self._size, self._width = table.shape
        self._table = builder.floats(table)

    def look_up(self, tokens: str) -> str:
        """See Embedding."""
        return self._builder.add("Gather", self._table, tokens)

    def logits(self, x: str) -> str:
        """As Gemm, which can read the table transposed; MatMul would need a copy."""
        builder = self._builder
        leading = builder.add("Shape", x, end=2)
        rows = builder.add("Reshape", x, builder.integers(-1, self._width))
        shape = builder.add("Concat", leading, builder.integers(self._size), axis=0)
        return builder.add("Reshape", builder.add("Gemm", rows, self._table, transB=1), shape)


class Int8Embedding:
    """The table as bytes with a scale per block."""

    def __init__(self, builder: GraphBuilder, table: Floats) -> None:
        self._builder = builder
        blocks, scales = block_quantized(table)
        self._shape = blocks.shape
        self._blocks = builder.constant(blocks)
        self._scales = builder.constant(scales)

    def look_up(self, tokens: str) -> str:
        """See Embedding."""
        builder = self._builder
        rounded = builder.add("Cast", builder.add("Gather", self._blocks, tokens), to=TensorProto.FLOAT)
        centred = builder.add("Sub", rounded, builder.constant(np.array(ZERO_POINT, np.float32)))
        scales = builder.add("Unsqueeze", builder.add("Gather", self._scales, tokens), builder.integers(-1))
        return builder.add("Reshape", builder.add("Mul", centred, scales), builder.integers(0, 0, self._shape[1] * self._shape[2]))

    def logits(self, x: str) -> str:
        """See Embedding."""
        return block_product(self._builder, x, self._blocks, self._scales, self._shape)
