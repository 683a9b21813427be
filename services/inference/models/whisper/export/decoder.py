"""The decoder: one graph for prompts and for single steps, with the attention of the alignment heads on demand."""

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from services.inference.models.whisper.architecture import Architecture
from services.inference.models.whisper.export.builder import GraphBuilder, Shape
from services.inference.models.whisper.export.cross import Cross
from services.inference.models.whisper.export.embedding import Embedding
from services.inference.models.whisper.export.weights import Weights

STEP_SHAPE = ("batch", "length")


class DecoderGraph:
    """Inputs, layers and outputs of the decoder.

    tokens, positions (batch, length); bias (batch, 1, length, past + length), added to the scores of self-attention; reads
    (batch, reads), where in the length logits are wanted; align (), whether attention is; per layer past and cross keys and
    values. Returns logits (batch, reads, vocabulary) float32, present keys and values, and attention
    (batch, alignment heads, length, frames) float32, empty unless wanted.
    """

    def __init__(self, builder: GraphBuilder, weights: Weights, architecture: Architecture, embedding: Embedding, cross: Cross) -> None:
        self._builder = builder
        self._weights = weights.under("decoder")
        self._architecture = architecture
        self._embedding = embedding
        self._cross = cross
        self._queries: list[str] = []

    def build(self, alignment_heads: Sequence[tuple[int, int]]) -> None:
        """Fill the builder."""
        builder = self._builder
        tokens = builder.input("tokens", STEP_SHAPE, TensorProto.INT64)
        positions = builder.input("positions", STEP_SHAPE, TensorProto.INT64)
        bias = builder.input("bias", ("batch", 1, "length", "total"))
        reads = builder.input("reads", ("batch", "reads"), TensorProto.INT64)
        align = builder.input("align", (), TensorProto.BOOL)
        table = builder.floats(self._weights["embed_positions.weight"])
        x = builder.add("Add", self._embedding.look_up(tokens), builder.add("Gather", table, positions))
        for layer in range(self._architecture.decoder_layers):
            x = self._layer(x, bias, layer)
        self._logits(x, reads)
        self._attention(align, alignment_heads)

    def _layer(self, x: str, bias: str, layer: int) -> str:
        builder, weights, heads = self._builder, self._weights.under(f"layers.{layer}"), self._architecture.decoder_heads
        past_key, past_value = self._past(layer)
        self._cross.declare(builder, layer)
        own, cross = weights.under("self_attn"), weights.under("encoder_attn")
        normed = builder.layer_norm(x, weights.under("self_attn_layer_norm"))
        projected = builder.joined_linear(normed, [own.under(name) for name in ("q_proj", "k_proj", "v_proj")])
        attended, *present = builder.attention(heads, 3, *projected, "", "", bias, past_key, past_value)
        self._present(layer, present)
        x = builder.add("Add", x, builder.linear(attended, own.under("out_proj")))
        query = builder.linear(builder.layer_norm(x, weights.under("encoder_attn_layer_norm")), cross.under("q_proj"))
        self._queries.append(query)
        heard = self._cross.attend(builder, layer, query)
        return builder.feed_forward(builder.add("Add", x, builder.linear(heard, cross.under("out_proj"))), weights)

    def _past(self, layer: int) -> tuple[str, str]:
        shape: Shape = ("batch", self._architecture.decoder_heads, "past", self._architecture.head_size)
        return self._builder.input(f"past_key_{layer}", shape), self._builder.input(f"past_value_{layer}", shape)

    def _present(self, layer: int, present: Sequence[str]) -> None:
        shape = ("batch", self._architecture.decoder_heads, "total", self._architecture.head_size)
        for name, value in zip(("present_key", "present_value"), present, strict=True):
            self._builder.output(value, f"{name}_{layer}", shape)

    def _logits(self, x: str, reads: str) -> None:
        builder = self._builder
        indices = builder.add("Unsqueeze", reads, builder.integers(-1))
        read = builder.layer_norm(builder.add("GatherND", x, indices, batch_dims=1), self._weights.under("layer_norm"))
        logits = builder.add("Cast", self._embedding.logits(read), to=TensorProto.FLOAT)
        builder.output(logits, "logits", ("batch", "reads", self._architecture.vocabulary_size), TensorProto.FLOAT)

    def _attention(self, align: str, alignment_heads: Sequence[tuple[int, int]]) -> None:
        """Only where it is wanted: at every step it would cost as much as a layer."""
        builder = self._builder
        empty = builder.constant(np.empty((0, 0, 0, 0), np.float32))
        attention = builder.choose(
            align,
            then=lambda: self._heads_attention(alignment_heads),
            otherwise=lambda: builder.add("Identity", empty),
            element_type=TensorProto.FLOAT,
        )
        shape = ("batch", len(alignment_heads), "length", self._architecture.frames)
        builder.output(attention, "attention", shape, TensorProto.FLOAT)

    def _heads_attention(self, alignment_heads: Sequence[tuple[int, int]]) -> str:
        builder = self._builder
        scale = builder.floats(np.array(self._architecture.head_size**-0.5, np.float32))
        layers = sorted({layer for layer, _ in alignment_heads})
        heads = {layer: builder.integers(*(head for at, head in alignment_heads if at == layer)) for layer in layers}
        return builder.add("Concat", *(self._layer_attention(layer, heads[layer], scale) for layer in layers), axis=1)

    def _layer_attention(self, layer: int, heads: str, scale: str) -> str:
        builder, sizes = self._builder, self._architecture
        query = builder.add("Gather", builder.heads(self._queries[layer], sizes.decoder_heads, sizes.head_size), heads, axis=1)
        scores = builder.add("MatMul", builder.add("Mul", query, scale), self._cross.keys(builder, layer, heads))
        return builder.add("Softmax", builder.add("Cast", scores, to=TensorProto.FLOAT), axis=-1)
