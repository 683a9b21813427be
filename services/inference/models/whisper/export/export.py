"""Export of a model folder: reads `config.json`, `generation_config.json` and safetensors, writes `onnx/<precision>/`."""

import shutil
from collections.abc import Callable
from pathlib import Path

from onnx import TensorProto

from services.inference.models.whisper.architecture import Architecture, read_alignment_heads, read_architecture
from services.inference.models.whisper.export.builder import GraphBuilder, Linear
from services.inference.models.whisper.export.cross import Cross, FloatCross, Int8Cross, ProductCross
from services.inference.models.whisper.export.decoder import DecoderGraph
from services.inference.models.whisper.export.embedding import Embedding, FloatEmbedding, Int8Embedding
from services.inference.models.whisper.export.encoder import build_encoder
from services.inference.models.whisper.export.linear import float_linear, per_call_int8_linear, per_row_int8_linear
from services.inference.models.whisper.export.weights import Weights, open_weights
from services.inference.models.whisper.precision import DECODER_FILE, ENCODER_FILE, ROWS_FILE, Precision, graphs_folder
from services.inference.pcm import Floats

ENCODER_LINEARS: dict[Precision, Linear] = {
    Precision.FP32: float_linear,
    Precision.FP16: float_linear,
    Precision.INT8: per_call_int8_linear,
}
DECODER_LINEARS: dict[Precision, Linear] = {
    Precision.FP32: float_linear,
    Precision.FP16: float_linear,
    Precision.INT8: per_row_int8_linear,
}
EMBEDDINGS: dict[Precision, Callable[[GraphBuilder, Floats], Embedding]] = {
    Precision.FP32: FloatEmbedding,
    Precision.FP16: FloatEmbedding,
    Precision.INT8: Int8Embedding,
}
CROSSES: dict[Precision, Callable[[Architecture], Cross]] = {
    Precision.FP32: ProductCross,
    Precision.FP16: FloatCross,
    Precision.INT8: Int8Cross,
}


def export_whisper(folder: Path, precision: Precision) -> Path:
    """Write the graphs of a model folder and return theirs; an earlier export is replaced whole or not at all.

    Raises UnsupportedModel.
    """
    target = graphs_folder(folder, precision)
    unfinished = target.with_name(f".{target.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    with open_weights(folder) as weights:
        _encoder(folder, weights, precision).save(unfinished / ENCODER_FILE)
        _decoder(folder, weights, precision).save(unfinished / DECODER_FILE)
    _rows(precision).save(unfinished / ROWS_FILE)
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)
    return target


def _encoder(folder: Path, weights: Weights, precision: Precision) -> GraphBuilder:
    builder = GraphBuilder(ENCODER_LINEARS[precision], _float_type(precision))
    architecture = read_architecture(folder)
    build_encoder(builder, weights, architecture, CROSSES[precision](architecture))
    return builder


def _decoder(folder: Path, weights: Weights, precision: Precision) -> GraphBuilder:
    architecture = read_architecture(folder)
    builder = GraphBuilder(DECODER_LINEARS[precision], _float_type(precision))
    embedding = EMBEDDINGS[precision](builder, weights["decoder.embed_tokens.weight"])
    graph = DecoderGraph(builder, weights, architecture, embedding, CROSSES[precision](architecture))
    graph.build(read_alignment_heads(folder, architecture))
    return builder


def _rows(precision: Precision) -> GraphBuilder:
    """Some rows of a tensor, in an order; on a GPU they never leave it."""
    builder = GraphBuilder(float_linear, _float_type(precision))
    shape = ("batch", "heads", "length", "size")
    tensor, rows = builder.input("tensor", shape), builder.input("rows", ("rows",), TensorProto.INT64)
    builder.output(builder.add("Gather", tensor, rows), "selected", ("rows", *shape[1:]))
    return builder


def _float_type(precision: Precision) -> int:
    return int(TensorProto.FLOAT16 if precision is Precision.FP16 else TensorProto.FLOAT)
