"""A model heard as the service would use it: voice activity, windows of at most 30 s, then the runtime."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from services.inference.models.vad import SileroVad, load_vad
from services.inference.models.vad_state import VadState, gain_for
from services.inference.models.whisper.export.export import export_whisper
from services.inference.models.whisper.model import WhisperModel, WhisperRequest, WhisperResult, load_whisper
from services.inference.models.whisper.precision import Precision
from services.inference.models.whisper.prompts import Task
from services.inference.pcm import Pcm, cut, duration_ms, loud_level_dbfs
from services.inference.transcript import Word
from services.inference.windows import Window, find_regions, plan_windows

BATCH = 8


@dataclass(frozen=True)
class Listener:
    """The models of the service."""

    vad: SileroVad
    whisper: WhisperModel

    def words(self, recording: Pcm, task: Task) -> list[Word]:
        """What is heard, in time of the recording."""
        windows = self.windows(recording)
        found = self.transcribe([cut(recording, window.start_ms, window.end_ms) for window in windows], task)
        return [
            replace(word, start_ms=window.to_file_ms(word.start_ms), end_ms=window.to_file_ms(word.end_ms))
            for window, result in zip(windows, found, strict=True)
            for word in result.window.words
        ]

    def windows(self, recording: Pcm) -> list[Window]:
        """Cut where nobody speaks."""
        probabilities, _ = self.vad.speech_probabilities(recording, VadState(gain=gain_for(loud_level_dbfs(recording))))
        return plan_windows(find_regions(probabilities, duration_ms(recording)), probabilities)

    def transcribe(self, windows: Sequence[Pcm], task: Task) -> list[WhisperResult]:
        """Windows of at most 30 s, whatever is in them."""
        parts = (windows[start : start + BATCH] for start in range(0, len(windows), BATCH))
        return [result for part in parts for result in self.whisper.transcribe([WhisperRequest(pcm, task) for pcm in part])]


@contextmanager
def open_listener(folder: Path, threads: int) -> Iterator[Listener]:
    """A listener with the model of a folder in Hugging Face layout, which is left as it is."""
    with tempfile.TemporaryDirectory() as name:
        copied = Path(name)
        for path in folder.iterdir():
            if path.is_file():
                shutil.copyfile(path, copied / path.name)
        export_whisper(copied, Precision.FP32)
        yield Listener(load_vad(), load_whisper(copied, threads=threads))
