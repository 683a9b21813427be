"""Arrays as Triton's messages carry them: raw, little-endian, row by row; strings with four bytes of length."""

import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import service_pb2

_LENGTH = struct.Struct("<I")
_BYTES = "BYTES"
_DATATYPES: dict[np.dtype[Any], str] = {
    np.dtype(np.int16): "INT16",
    np.dtype(np.int32): "INT32",
    np.dtype(np.float16): "FP16",
    np.dtype(np.float32): "FP32",
    np.dtype(np.object_): _BYTES,
}
_DTYPES = {name: dtype for dtype, name in _DATATYPES.items()}


def to_request(model: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Any:
    """A ModelInferRequest."""
    request = service_pb2.ModelInferRequest(model_name=model)
    for name, array in inputs.items():
        datatype = _DATATYPES[array.dtype]
        request.inputs.add(name=name, datatype=datatype, shape=array.shape)
        request.raw_input_contents.append(_pack(array) if datatype == _BYTES else array.tobytes())
    return request


def to_arrays(response: Any) -> dict[str, npt.NDArray[Any]]:
    """The outputs of a ModelInferResponse. Raises ValueError for what is no answer of ours."""
    if len(response.outputs) != len(response.raw_output_contents):
        raise ValueError(f"{len(response.outputs)} outputs with {len(response.raw_output_contents)} contents")
    pairs = zip(response.outputs, response.raw_output_contents, strict=True)
    return {output.name: _array(output.datatype, tuple(output.shape), raw) for output, raw in pairs}


def _array(datatype: str, shape: tuple[int, ...], raw: bytes) -> npt.NDArray[Any]:
    dtype = _DTYPES.get(datatype)
    if dtype is None:
        raise ValueError(f"an output of type {datatype}")
    if datatype == _BYTES:
        return np.array(list(_unpack(raw)), np.object_).reshape(shape)
    return np.frombuffer(raw, dtype).reshape(shape)


def _pack(array: npt.NDArray[np.object_]) -> bytes:
    return b"".join(_LENGTH.pack(len(item)) + item for item in array.ravel())


def _unpack(raw: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(raw):
        if at + _LENGTH.size > len(raw):
            raise ValueError("a string is cut short")
        (length,) = _LENGTH.unpack_from(raw, at)
        at += _LENGTH.size
        if at + length > len(raw):
            raise ValueError("a string is cut short")
        yield raw[at : at + length]
        at += length
