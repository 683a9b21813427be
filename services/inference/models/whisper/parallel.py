"""A batch in parts, one for each core: a small model's products are too small for several threads to share one."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from services.inference.models.whisper.model import WhisperModel, WhisperRequest, WhisperResult

# The parts need sessions of their own, and so the weights twice. int8 of tiny and base are smaller; fp32 of tiny is larger, and there
# the decoder's steps took an eighth longer in two parts, since each part reads all weights.
MOST_BYTES_TWICE = 96 * 2**20


class BatchWhisper(Protocol):
    """What a host asks of a model."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes it transcribes."""

    @property
    def device(self) -> str:
        """cpu or cuda."""

    def transcribe_once(self, requests: Sequence[WhisperRequest]) -> list[WhisperResult | None]:
        """See WhisperModel."""


class ParallelWhisper:
    """A model on all threads, and once more on one thread for each part of a batch.

    whole: for so few windows that parts would leave half of the threads idle. single: several threads use it at once.
    """

    def __init__(self, whole: WhisperModel, single: WhisperModel, threads: int) -> None:
        self._whole = whole
        self._single = single
        self._threads = threads

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes it transcribes."""
        return self._whole.languages

    @property
    def device(self) -> str:
        """Always the processor."""
        return self._whole.device

    def transcribe_once(self, requests: Sequence[WhisperRequest]) -> list[WhisperResult | None]:
        """See WhisperModel."""
        if 2 * len(requests) <= self._threads:
            return self._whole.transcribe_once(requests)
        count = min(self._threads, len(requests))
        parts = [range(part, len(requests), count) for part in range(count)]
        with ThreadPoolExecutor(count, "part") as pool:
            found = pool.map(lambda rows: self._single.transcribe_once([requests[row] for row in rows]), parts)
            by_row = {row: result for rows, results in zip(parts, found, strict=True) for row, result in zip(rows, results, strict=True)}
        return [by_row[row] for row in range(len(requests))]
