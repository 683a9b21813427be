"""The model `pyannote`: who speaks when in a whole recording, by a pipeline of pyannote.audio 4 from a local folder.

Needs more than the interpreter of the other models: pyannote.audio, and so torch and NumPy 2, which Triton 24.10 cannot pass on.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.inference.pcm import SAMPLE_RATE_HZ, Pcm, to_floats
from services.inference.transcript import Turn
from services.inference.triton.host import Answer, Cancelled, Row
from services.inference.triton.parameters import AUTO, Parameters
from services.inference.triton.wire import BadRequest, SpeakerCount, decode_recording, encode_turns

# Nothing is reported or fetched: pyannote.audio 4 sends telemetry unless told otherwise.
SILENCED = {"PYANNOTE_METRICS_ENABLED": "0", "HF_HUB_OFFLINE": "1"}


class PyannoteHost:
    """A loaded pipeline."""

    def __init__(self, pipeline: Any, torch: Any) -> None:
        self._pipeline = pipeline
        self._torch = torch

    def answer(self, rows: Sequence[Row]) -> list[Answer]:
        """See Host."""
        return [self._answer(row) for row in rows]

    def _answer(self, row: Row) -> Answer:
        def check(*_: Any, **__: Any) -> None:
            if row.cancelled():
                raise Cancelled

        try:
            check()
            return encode_turns(self._turns(*decode_recording(row.inputs), check))
        except (BadRequest, Cancelled) as error:
            return error

    def _turns(self, pcm: Pcm, speakers: SpeakerCount, hook: Any) -> list[Turn]:
        waveform = self._torch.from_numpy(to_floats(pcm))[None]
        wishes = {"num_speakers": speakers.num_speakers, "min_speakers": speakers.min_speakers, "max_speakers": speakers.max_speakers}
        found = self._pipeline({"waveform": waveform, "sample_rate": SAMPLE_RATE_HZ}, hook=hook, **wishes)
        return to_turns(found.speaker_diarization.itertracks(yield_label=True))


def to_turns(tracks: Any) -> list[Turn]:
    """Turns in order, speakers numbered by first appearance. tracks: (segment with start and end in seconds, track, label)."""
    spoken = sorted((round(segment.start * 1_000), round(segment.end * 1_000), label) for segment, _, label in tracks)
    numbers: dict[str, int] = {}
    return [Turn(start_ms, end_ms, numbers.setdefault(label, len(numbers))) for start_ms, end_ms, label in spoken if end_ms > start_ms]


def open_pyannote(parameters: Parameters) -> PyannoteHost:
    """The pipeline whose config.yaml lies in `pyannote_directory`. Raises ValueError without one, ImportError without the library."""
    folder = Path(parameters.text("pyannote_directory") or ".")
    if not parameters.text("pyannote_directory") or not (folder / "config.yaml").is_file():
        raise ValueError(f"pyannote_directory names no folder with a pipeline's config.yaml: {folder}")
    os.environ.update(SILENCED)
    import torch
    from pyannote.audio import Pipeline

    pipeline = Pipeline.from_pretrained(folder)
    device = parameters.text("providers") or AUTO
    if device == "cuda" or (device == AUTO and torch.cuda.is_available()):
        pipeline.to(torch.device("cuda", parameters.device_id))
    return PyannoteHost(pipeline, torch)
