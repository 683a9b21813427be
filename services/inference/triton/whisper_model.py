"""The model `whisper`: every request one window and one try; the ladder of temperatures is the client's to climb."""

from collections.abc import Container, Iterator, Sequence

import numpy as np
import onnxruntime

from services.inference.models.catalogue.installed import InstalledModel, find_model
from services.inference.models.whisper.graphs import CPU, CPU_PROVIDER, CUDA_PROVIDER
from services.inference.models.whisper.model import WhisperRequest, WhisperSettings, load_whisper
from services.inference.models.whisper.parallel import MOST_BYTES_TWICE, BatchWhisper, ParallelWhisper
from services.inference.models.whisper.precision import Precision
from services.inference.models.whisper.prompts import Task
from services.inference.pcm import SAMPLE_RATE_HZ
from services.inference.triton.host import Answer, Cancelled, Row
from services.inference.triton.parameters import AUTO, Parameters
from services.inference.triton.wire import (
    UNKNOWN_LANGUAGE,
    BadRequest,
    WhisperDescription,
    asks_for_description,
    decode_window,
    encode_description,
    encode_result,
)


class WhisperHost:
    """A loaded Whisper and what it says of itself."""

    def __init__(self, model: BatchWhisper, description: WhisperDescription) -> None:
        self._model = model
        self._description = description

    def answer(self, rows: Sequence[Row]) -> list[Answer]:
        """See Host."""
        answers: list[Answer] = [Cancelled() for _ in rows]
        windows: dict[int, WhisperRequest] = {}
        for place, row in enumerate(rows):
            try:
                if asks_for_description(row.inputs):
                    answers[place] = encode_description(self._description)
                else:
                    windows[place] = self._request(row)
            except BadRequest as error:
                answers[place] = error
        for place, result in zip(windows, self._model.transcribe_once(list(windows.values())), strict=True):
            if result is not None:
                answers[place] = encode_result(result.window)
        return answers

    def _request(self, row: Row) -> WhisperRequest:
        window = decode_window(row.inputs)
        if window.language not in (None, *self._description.languages):
            raise BadRequest(f"{UNKNOWN_LANGUAGE}: {window.language}")
        task = Task(window.language, window.translate, window.timestamps, window.hotwords, window.prompt)
        return WhisperRequest(window.pcm, task, window.temperature, row.cancelled)


def open_whisper(parameters: Parameters) -> WhisperHost:
    """The model that the parameters name, warm. Raises ModelMissing, ModelBroken, UnsupportedModel, ValueError."""
    installed = find_model(parameters.models_directory, parameters.text("whisper_model"))
    model, precision = _load(installed, parameters)
    # On a GPU the first batches of a size are slow.
    rows = 1 if model.device == CPU else parameters.max_batch_size
    model.transcribe_once([WhisperRequest(np.zeros(SAMPLE_RATE_HZ, np.int16), Task(model.languages[0]))] * rows)
    return WhisperHost(model, WhisperDescription(installed.name, precision, model.device, installed.languages, installed.translates))


def _load(installed: InstalledModel, parameters: Parameters) -> tuple[BatchWhisper, Precision]:
    """On the GPU if there is one that works; on a processor in parts where that is faster."""
    settings = WhisperSettings(beams=parameters.number("beams"))
    for providers, precision in placements(installed, parameters, onnxruntime.get_available_providers()):
        model = load_whisper(installed.folder, precision, providers, parameters.threads, settings, parameters.device_id)
        if model.device != CPU:
            return model, precision
        if CUDA_PROVIDER not in providers:
            if parameters.threads == 1 or installed.graphs_bytes(precision) > MOST_BYTES_TWICE:
                return model, precision
            single = load_whisper(installed.folder, precision, providers, threads=1, settings=settings)
            return ParallelWhisper(model, single, parameters.threads), precision
    raise ValueError(f"providers cuda: onnxruntime found no GPU that it can use, or {installed.name} is there at int8 only")


def placements(installed: InstalledModel, parameters: Parameters, available: Container[str]) -> Iterator[tuple[list[str], Precision]]:
    """Execution providers and precision, in the order in which to try them. Raises ModelMissing, ValueError.

    int8 stays off GPUs: its products are for processors, and what its encoder makes cannot be selected from there.
    """
    device, wanted = parameters.text("providers") or AUTO, parameters.text("precision") or AUTO
    if device not in (AUTO, "cpu", "cuda"):
        raise ValueError(f"providers is auto, cpu or cuda, not {device!r}")
    if device != "cpu" and CUDA_PROVIDER in available:
        precision = installed.choose_precision(wanted, cuda=True)
        if precision is not Precision.INT8:
            yield [CUDA_PROVIDER, CPU_PROVIDER], precision
    if device != "cuda":
        yield [CPU_PROVIDER], installed.choose_precision(wanted)
