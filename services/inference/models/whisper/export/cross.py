"""What the encoder leaves for the decoder's cross-attention, and how it is read.

At every step each row reads the keys and values of 1,500 frames: on a CPU with several rows the decoder waits for memory. As bytes
they take a quarter of it.
"""

from typing import Protocol

import numpy as np
from onnx import TensorProto

from services.inference.models.whisper.architecture import Architecture
from services.inference.models.whisper.export.builder import GraphBuilder, Shape

STEPS = 127
ZERO_POINT = 128
BYTE = 256
QUERY_STEPS = 127 * BYTE
SHARE_STEPS = 255 * BYTE
_TYPES = {
    "key": TensorProto.UINT8,
    "key_scale": TensorProto.FLOAT,
    "value": TensorProto.INT8,
    "value_scale": TensorProto.FLOAT,
}


class Cross(Protocol):
    """One form of the keys and values."""

    def store(self, builder: GraphBuilder, layer: int, key: str, value: str) -> None:
        """Outputs of the encoder. key, value: (batch, heads, frames, head size)."""

    def declare(self, builder: GraphBuilder, layer: int) -> None:
        """Inputs of the decoder."""

    def attend(self, builder: GraphBuilder, layer: int, query: str) -> str:
        """(batch, length, width) queries to what they find, in the same shape."""

    def keys(self, builder: GraphBuilder, layer: int, heads: str) -> str:
        """(batch, chosen heads, head size, frames) in floats."""


class FloatCross:
    """As they are, read by one fused kernel."""

    def __init__(self, architecture: Architecture) -> None:
        self._sizes = architecture
        self._shape: Shape = ("batch", architecture.decoder_heads, architecture.frames, architecture.head_size)

    def store(self, builder: GraphBuilder, layer: int, key: str, value: str) -> None:
        """See Cross."""
        builder.output(key, f"cross_key_{layer}", self._shape)
        builder.output(value, f"cross_value_{layer}", self._shape)

    def declare(self, builder: GraphBuilder, layer: int) -> None:
        """See Cross."""
        builder.input(f"cross_key_{layer}", self._shape)
        builder.input(f"cross_value_{layer}", self._shape)

    def attend(self, builder: GraphBuilder, layer: int, query: str) -> str:
        """See Cross."""
        return builder.attention(self._sizes.decoder_heads, 1, query, f"cross_key_{layer}", f"cross_value_{layer}")[0]

    def keys(self, builder: GraphBuilder, layer: int, heads: str) -> str:
        """See Cross."""
        return builder.add("Transpose", builder.add("Gather", f"cross_key_{layer}", heads, axis=1), perm=[0, 1, 3, 2])


class ProductCross(FloatCross):
    """As they are; a single query reads them by plain products, which on a processor take half of the fused kernel's time for it."""

    def attend(self, builder: GraphBuilder, layer: int, query: str) -> str:
        """See Cross. Several queries at once, of a prompt or for times, are the fused kernel's."""
        length = builder.add("Shape", query, start=1, end=2)
        return builder.choose(
            builder.add("Equal", length, builder.integers(1)),
            then=lambda: self._by_products(builder, layer, query),
            otherwise=lambda: super(ProductCross, self).attend(builder, layer, query),
        )

    def _by_products(self, builder: GraphBuilder, layer: int, query: str) -> str:
        """Keys go before the queries in their product: for a single query that is the faster way round."""
        sizes = self._sizes
        scaled = builder.add("Mul", query, _number(builder, sizes.head_size**-0.5))
        columns = builder.add("Transpose", builder.heads(scaled, sizes.decoder_heads, sizes.head_size), perm=[0, 1, 3, 2])
        scores = builder.add("Transpose", builder.add("MatMul", f"cross_key_{layer}", columns), perm=[0, 1, 3, 2])
        found = builder.add("MatMul", builder.add("Softmax", scores, axis=-1), f"cross_value_{layer}")
        return _together(builder, found, sizes.width)


class Int8Cross:
    """As bytes, with a scale per frame for keys and per channel for values.

    Queries and shares of attention keep sixteen bits, as two rows of bytes each: shares are mostly small, and with eight bits
    the many small ones would all be zero. Keys go before the queries in their product, a frame's bytes side by side: read by columns
    they came out of memory at a quarter of the speed.
    """

    def __init__(self, architecture: Architecture) -> None:
        heads, frames, size = architecture.decoder_heads, architecture.frames, architecture.head_size
        self._sizes = architecture
        self._shapes: dict[str, Shape] = {
            "key": ("batch", heads, frames, size),
            "key_scale": ("batch", heads, 1, frames),
            "value": ("batch", heads, frames, size),
            "value_scale": ("batch", heads, 1, size),
        }

    def store(self, builder: GraphBuilder, layer: int, key: str, value: str) -> None:
        """See Cross."""
        of_frame, of_channel = _step(builder, key, 3, STEPS), _step(builder, value, 2, STEPS)
        keys = builder.add("Add", builder.add("Round", builder.add("Div", key, of_frame)), _number(builder, ZERO_POINT))
        values = builder.add("Round", builder.add("Div", value, of_channel))
        scales = {"key_scale": builder.add("Transpose", of_frame, perm=[0, 1, 3, 2]), "value_scale": of_channel}
        rounded = {name: builder.add("Cast", bytes_of, to=_TYPES[name]) for name, bytes_of in (("key", keys), ("value", values))}
        for name, stored in (rounded | scales).items():
            builder.output(stored, f"cross_{name}_{layer}", self._shapes[name], _TYPES[name])

    def declare(self, builder: GraphBuilder, layer: int) -> None:
        """See Cross."""
        for name, shape in self._shapes.items():
            builder.input(f"cross_{name}_{layer}", shape, _TYPES[name])

    def attend(self, builder: GraphBuilder, layer: int, query: str) -> str:
        """See Cross."""
        sizes = self._sizes
        shares = builder.add("Softmax", self._scores(builder, layer, builder.heads(query, sizes.decoder_heads, sizes.head_size)), axis=-1)
        wide = builder.add("Round", builder.add("Mul", shares, _number(builder, SHARE_STEPS)))
        high = builder.add("Floor", builder.add("Mul", wide, _number(builder, 1 / BYTE)))
        halves = builder.add("Cast", _halves(builder, wide, high), to=TensorProto.UINT8)
        product = builder.add("MatMulInteger", halves, f"cross_value_{layer}")
        found = _joined(builder, builder.add("Cast", product, to=TensorProto.FLOAT))
        scale = builder.add("Mul", f"cross_value_scale_{layer}", _number(builder, 1 / SHARE_STEPS))
        return _together(builder, builder.add("Mul", found, scale), sizes.width)

    def _scores(self, builder: GraphBuilder, layer: int, query: str) -> str:
        step = _step(builder, query, 3, QUERY_STEPS)
        wide = builder.add("Round", builder.add("Div", query, step))
        nearest = builder.add("Add", builder.add("Mul", wide, _number(builder, 1 / BYTE)), _number(builder, 0.5))
        halves = builder.add("Cast", _halves(builder, wide, builder.add("Floor", nearest)), to=TensorProto.INT8)
        zero = builder.constant(np.array(ZERO_POINT, np.uint8))
        product = builder.add("MatMulInteger", f"cross_key_{layer}", builder.add("Transpose", halves, perm=[0, 1, 3, 2]), zero)
        rows = builder.add("Transpose", builder.add("Cast", product, to=TensorProto.FLOAT), perm=[0, 1, 3, 2])
        scale = builder.add("Mul", step, _number(builder, self._sizes.head_size**-0.5))
        return builder.add("Mul", builder.add("Mul", _joined(builder, rows), scale), f"cross_key_scale_{layer}")

    def keys(self, builder: GraphBuilder, layer: int, heads: str) -> str:
        """See Cross."""
        rounded, scale = (builder.add("Gather", f"cross_{name}_{layer}", heads, axis=1) for name in ("key", "key_scale"))
        signed = builder.add("Sub", builder.add("Cast", rounded, to=TensorProto.FLOAT), _number(builder, ZERO_POINT))
        return builder.add("Mul", builder.add("Transpose", signed, perm=[0, 1, 3, 2]), scale)


def _step(builder: GraphBuilder, values: str, axis: int, steps: int) -> str:
    """The size of one of `steps` steps up to the largest magnitude along an axis."""
    largest = builder.add("ReduceMax", builder.add("Abs", values), builder.integers(axis), keepdims=1)
    return builder.add("Mul", builder.add("Max", largest, _number(builder, 1e-20)), _number(builder, 1 / steps))


def _halves(builder: GraphBuilder, wide: str, high: str) -> str:
    """High and low bytes as rows, the high ones first."""
    low = builder.add("Sub", wide, builder.add("Mul", high, _number(builder, BYTE)))
    return builder.add("Concat", high, low, axis=2)


def _joined(builder: GraphBuilder, product: str) -> str:
    """The product of the whole numbers from the products of their bytes, in floats."""
    high, low = builder.add_many("Split", 2, product, axis=2, num_outputs=2)
    return builder.add("Add", builder.add("Mul", high, _number(builder, BYTE)), low)


def _together(builder: GraphBuilder, heads: str, width: int) -> str:
    """(batch, heads, length, head size) to (batch, length, width)."""
    return builder.add("Reshape", builder.add("Transpose", heads, perm=[0, 2, 1, 3]), builder.integers(0, 0, width))


def _number(builder: GraphBuilder, value: float) -> str:
    return builder.constant(np.array(value, np.float32))
