"""ONNX graphs written by hand: nodes, weights, and the few blocks that Whisper consists of.

Not traced from PyTorch: nobody needs torch to export, attention is one node with a fused kernel, and a weight is stored once.
"""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from services.inference.models.whisper.export.weights import Weights
from services.inference.pcm import Floats

OPSET = 20
IR_VERSION = 10
CONTRIBUTED = "com.microsoft"
NORM_EPSILON = 1e-5
EXTERNAL_FROM_BYTES = 1_024

Array: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = Sequence[int | str]


class GraphBuilder:
    """One graph in the making; methods that add nodes return the names of their results."""

    def __init__(self, linear: "Linear", float_type: int = TensorProto.FLOAT) -> None:
        self._linear = linear
        self.float_type = float_type
        self._nodes: list[onnx.NodeProto] = []
        self._numbers = itertools.count()
        self._weights: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, shape: Shape, element_type: int | None = None) -> str:
        """An input, of the graph's own float type unless said otherwise."""
        self._inputs.append(helper.make_tensor_value_info(name, element_type or self.float_type, shape))
        return name

    def output(self, value: str, name: str, shape: Shape, element_type: int | None = None) -> None:
        """Give a result to the caller under a name."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, element_type or self.float_type, shape))

    def constant(self, values: Array) -> str:
        """A weight stored as it is."""
        name = f"weight_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def floats(self, values: Floats) -> str:
        """A weight in the graph's float type."""
        return self.constant(values.astype(helper.tensor_dtype_to_np_dtype(self.float_type)))

    def integers(self, *values: int) -> str:
        """A vector of int64."""
        return self.constant(np.array(values, np.int64))

    def add(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """A node with one result."""
        return self.add_many(kind, 1, *inputs, domain=domain, **attributes)[0]

    def add_many(self, kind: str, results: int, *inputs: str, domain: str = "", **attributes: Any) -> list[str]:
        """A node with several results."""
        number = next(self._numbers)
        names = [f"{kind.lower()}_{number}_{result}" for result in range(results)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **attributes))
        return names

    def choose(self, condition: str, then: Callable[[], str], otherwise: Callable[[], str], element_type: int | None = None) -> str:
        """The result of what one of two adds; the other is not computed."""
        kind = element_type or self.float_type
        return self.add("If", condition, then_branch=self._branch(then, kind), else_branch=self._branch(otherwise, kind))

    def _branch(self, make: Callable[[], str], element_type: int) -> onnx.GraphProto:
        outer = len(self._nodes)
        result = make()
        nodes, self._nodes[outer:] = self._nodes[outer:], []
        return helper.make_graph(nodes, result, [], [helper.make_tensor_value_info(result, element_type, None)])

    def linear(self, x: str, weights: Weights, bias: bool = True) -> str:
        """x times the transposed weight, plus the bias."""
        return self._linear(self, x, weights["weight"], weights["bias"] if bias else None)

    def joined_linear(self, x: str, parts: Sequence[Weights]) -> list[str]:
        """Several projections of one input as one product; a part without bias has zeros."""
        weight = np.concatenate([part["weight"] for part in parts])
        bias = np.concatenate([np.zeros(len(part["weight"]), np.float32) if part.lacks("bias") else part["bias"] for part in parts])
        sizes = self.integers(*(len(part["weight"]) for part in parts))
        return self.add_many("Split", len(parts), self._linear(self, x, weight, bias), sizes, axis=-1)

    def layer_norm(self, x: str, weights: Weights) -> str:
        """Normalisation over the last axis."""
        scale, bias = self.floats(weights["weight"]), self.floats(weights["bias"])
        return self.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=NORM_EPSILON)

    def feed_forward(self, x: str, weights: Weights) -> str:
        """The two linear layers of a block, with its residual."""
        hidden = self.linear(self.layer_norm(x, weights.under("final_layer_norm")), weights.under("fc1"))
        return self.add("Add", x, self.linear(self.add("Gelu", hidden), weights.under("fc2")))

    def heads(self, x: str, heads: int, head_size: int) -> str:
        """(batch, length, width) to (batch, heads, length, head size)."""
        return self.add("Transpose", self.add("Reshape", x, self.integers(0, 0, heads, head_size)), perm=[0, 2, 1, 3])

    def attention(self, heads: int, results: int, *inputs: str) -> list[str]:
        """ONNX Runtime's fused attention; inputs as its MultiHeadAttention takes them."""
        return self.add_many("MultiHeadAttention", results, *inputs, domain=CONTRIBUTED, num_heads=heads)

    def save(self, path: Path) -> None:
        """Write the graph, and its weights beside it in `<name>.data`."""
        graph = helper.make_graph(self._nodes, path.stem, self._inputs, self._outputs, self._weights)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIBUTED, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="steno")
        data = path.with_name(path.name + ".data")
        data.unlink(missing_ok=True)
        onnx.save_model(model, path, save_as_external_data=True, location=data.name, size_threshold=EXTERNAL_FROM_BYTES)


Linear: TypeAlias = Callable[[GraphBuilder, str, Floats, Floats | None], str]
