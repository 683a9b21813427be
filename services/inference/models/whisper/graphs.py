"""A model's three graphs on a processor or a GPU; what passes between them never leaves it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime import OrtValue

from services.inference.models.session import ERRORS_ONLY
from services.inference.models.whisper.architecture import Architecture
from services.inference.models.whisper.precision import DECODER_FILE, ENCODER_FILE, ROWS_FILE
from services.inference.pcm import Floats

CUDA_PROVIDER = "CUDAExecutionProvider"
CPU_PROVIDER = "CPUExecutionProvider"
CPU = "cpu"
# Far below any score, and inside what half precision can say.
FORBIDDEN = -1e4
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int8)": np.int8, "tensor(uint8)": np.uint8}

Integers = npt.NDArray[np.int64]
Tensors = Sequence[OrtValue]


@dataclass(frozen=True, slots=True)
class Step:
    """What the decoder reads: tokens and positions (rows, length), reads (rows, reads), bias (rows, 1, length, past + length)."""

    tokens: Integers
    positions: Integers
    bias: Floats
    reads: Integers


class Graphs:
    """Sessions over one precision of one model."""

    def __init__(self, architecture: Architecture, folder: Path, providers: Sequence[str], threads: int, device_id: int = 0) -> None:
        options = _options(threads)
        # Searching the best convolution takes seconds, for each size of a batch anew.
        cuda = {"device_id": str(device_id), "cudnn_conv_algo_search": "HEURISTIC"}
        settings = [cuda if provider == CUDA_PROVIDER else {} for provider in providers]
        self._encoder, self._decoder, self._rows = (
            onnxruntime.InferenceSession(str(folder / name), sess_options=options, providers=list(providers), provider_options=settings)
            for name in (ENCODER_FILE, DECODER_FILE, ROWS_FILE)
        )
        self.architecture = architecture
        self.threads = threads
        self._device = "cuda" if CUDA_PROVIDER in self._encoder.get_providers() else CPU
        self._device_id = 0 if self._device == CPU else device_id
        self._type = TYPES[self._encoder.get_inputs()[0].type]
        layers = range(architecture.decoder_layers)
        self._past_names = [name for layer in layers for name in (f"past_key_{layer}", f"past_value_{layer}")]
        self._crosses = {output.name: (output.shape[1:], TYPES[output.type]) for output in self._encoder.get_outputs()}
        self._present_names = [name for layer in layers for name in (f"present_key_{layer}", f"present_value_{layer}")]

    @property
    def device(self) -> str:
        """cpu or cuda."""
        return self._device

    def encode(self, mels: Floats) -> list[OrtValue]:
        """What every decoder layer's cross-attention reads, a row per window.

        mels: (rows, bands, 2 * frames). On a processor one row at a time: batches are no faster there, hold more memory, and
        rounded activations would depend on each other.
        """
        mels = mels.astype(self._type, copy=False)
        if self._device != CPU:
            return self._run(self._encoder, {"mel": self._place(mels)}, list(self._crosses))
        crossed = {name: np.empty((len(mels), *shape), kind) for name, (shape, kind) in self._crosses.items()}
        for row in range(len(mels)):
            binding = self._encoder.io_binding()
            binding.bind_cpu_input("mel", mels[row : row + 1])
            for name, tensor in crossed.items():
                binding.bind_output(name, CPU, 0, tensor.dtype, (1, *tensor.shape[1:]), tensor[row].ctypes.data)
            self._encoder.run_with_iobinding(binding)
        return [OrtValue.ortvalue_from_numpy(tensor) for tensor in crossed.values()]

    def decode(self, step: Step, past: Tensors, crossed: Tensors) -> tuple[Floats, list[OrtValue]]:
        """Logits (rows, reads, vocabulary) float32 where asked for, and the past of the next step."""
        feeds = self._feeds(step, past, crossed, align=False)
        logits, *present = self._run(self._decoder, feeds, ["logits", *self._present_names])
        return logits.numpy(), present

    def attention(self, step: Step, crossed: Tensors) -> Floats:
        """Cross-attention (rows, alignment heads, length, frames) float32 of whole sequences."""
        feeds = self._feeds(step, self.no_past(len(step.tokens)), crossed, align=True)
        return np.asarray(self._run(self._decoder, feeds, ["attention"])[0].numpy(), np.float32)

    def no_past(self, rows: int) -> list[OrtValue]:
        """The past of a first step."""
        shape = (rows, self.architecture.decoder_heads, 0, self.architecture.head_size)
        return [self._place(np.empty(shape, self._type))] * len(self._past_names)

    def select(self, tensors: Tensors, rows: Sequence[int]) -> list[OrtValue]:
        """These rows of each tensor, in this order; one may appear twice."""
        if self._device == CPU:
            return [OrtValue.ortvalue_from_numpy(np.take(tensor.numpy(), rows, axis=0)) for tensor in tensors]
        wanted = self._place(np.array(rows, np.int64))
        return [self._run(self._rows, {"tensor": tensor, "rows": wanted}, ["selected"])[0] for tensor in tensors]

    def _feeds(self, step: Step, past: Tensors, crossed: Tensors, align: bool) -> dict[str, OrtValue]:
        arrays = {
            "tokens": step.tokens,
            "positions": step.positions,
            "bias": step.bias.astype(self._type, copy=False),
            "reads": step.reads,
        }
        feeds = {name: self._place(np.ascontiguousarray(array)) for name, array in arrays.items()}
        feeds["align"] = OrtValue.ortvalue_from_numpy(np.array(align))
        feeds.update(zip(self._past_names, past, strict=True))
        feeds.update(zip(self._crosses, crossed, strict=True))
        return feeds

    def _place(self, array: npt.NDArray[Any]) -> OrtValue:
        return OrtValue.ortvalue_from_numpy(array, self._device, self._device_id)

    def _run(self, session: onnxruntime.InferenceSession, feeds: Mapping[str, OrtValue], names: Sequence[str]) -> list[OrtValue]:
        if self._device == CPU:
            return list(session.run_with_ort_values(names, feeds))
        binding = session.io_binding()
        for name, value in feeds.items():
            binding.bind_ortvalue_input(name, value)
        for name in names:
            read_here = name in ("logits", "attention")
            binding.bind_output(name, *((CPU, 0) if read_here else (self._device, self._device_id)))
        session.run_with_iobinding(binding)
        return list(binding.get_outputs())


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    # Threads that wait by spinning cost a sixth more of the processor and no window is sooner done.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
