"""The network as an ONNX graph, node by node: `features` (batch, frames, FEATURE_COUNT) in, `scores` (batch, frames, types) out."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from services.detection.features import FEATURE_COUNT, FRAME_MS, VERSION
from services.inference.training.material import Floats, Norm
from services.inference.training.network import Layer, Weights
from services.inference.training.shape import CONTEXT_FRAMES, DILATIONS, NORM_EPSILON

_OPSET = 17
_IR_VERSION = 8


def export(path: Path, weights: Weights, norm: Norm, artifact_types: Sequence[str], thresholds: Floats) -> None:
    """Write the graph; a score of 0.5 is the type's threshold. The file is there when it is whole."""
    graph = _Graph()
    hidden = graph.add("Transpose", graph.scaled(norm), perm=[0, 2, 1])
    hidden = graph.add("Relu", graph.convolved(hidden, weights["input"], 1))
    for index, dilation in enumerate(DILATIONS):
        block = weights[f"block_{index}"]
        hidden = graph.add("Add", hidden, graph.add("Relu", graph.convolved(graph.levelled(hidden, block), block, dilation)))
    logits = graph.headed(graph.levelled(hidden, weights["head"]), weights["head"], thresholds)
    graph.add("Transpose", graph.add("Sigmoid", logits), perm=[0, 2, 1], result="scores")
    facts = {
        "artifact_types": list(artifact_types),
        "thresholds": [round(float(each), 6) for each in thresholds],
        "features_version": VERSION,
    }
    _save(graph.model(len(artifact_types), {**facts, "frame_ms": FRAME_MS, "context_frames": CONTEXT_FRAMES}), path)


def _save(model: onnx.ModelProto, path: Path) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(model.SerializeToString())
    part.rename(path)


class _Graph:
    """The graph in the making; channels lie before frames inside of it."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, result: str = "", **attributes: Any) -> str:
        """A node with one result, whose name is returned."""
        name = result or f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def scaled(self, norm: Norm) -> str:
        """Features of mean 0 and deviation 1."""
        return self.add("Div", self.add("Sub", "features", self._constant(norm.mean)), self._constant(norm.deviation))

    def convolved(self, hidden: str, layer: Layer, dilation: int) -> str:
        """A layer over frames, zeros outside."""
        weight = np.asarray(layer["weight"]).transpose(2, 1, 0)
        constants = (self._constant(weight), self._constant(np.asarray(layer["bias"])))
        return self.add("Conv", hidden, *constants, dilations=[dilation], pads=[dilation, dilation], kernel_shape=[weight.shape[2]])

    def levelled(self, hidden: str, layer: Layer) -> str:
        """Root mean square over the channels made 1."""
        squares = self.add("ReduceMean", self.add("Mul", hidden, hidden), axes=[1], keepdims=1)
        level = self.add("Sqrt", self.add("Add", squares, self._constant(np.asarray(NORM_EPSILON))))
        return self.add("Mul", self.add("Div", hidden, level), self._constant(np.asarray(layer["scale"])[:, None]))

    def headed(self, hidden: str, layer: Layer, thresholds: Floats) -> str:
        """Logits, moved so that each type's threshold is 0."""
        weight = np.asarray(layer["weight"]).T[:, :, None]
        bias = np.asarray(layer["bias"]) - np.log(thresholds / (1 - thresholds))
        return self.add("Conv", hidden, self._constant(weight), self._constant(bias), kernel_shape=[1])

    def model(self, artifact_types: int, facts: dict[str, Any]) -> onnx.ModelProto:
        """The checked model; facts become its metadata, as JSON."""
        given = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", "frames", FEATURE_COUNT])
        wanted = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", "frames", artifact_types])
        graph = helper.make_graph(self._nodes, "detector", [given], [wanted], self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION, producer_name="steno")
        helper.set_model_props(model, {name: json.dumps(fact) for name, fact in facts.items()})
        onnx.checker.check_model(model)
        return model

    def _constant(self, values: NDArray[Any]) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32).reshape(values.shape), name))
        return name
