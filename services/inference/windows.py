"""Speech regions out of frame probabilities, and windows for the engine out of regions.

Everything is a pure function of the probabilities: a redelivered job plans the same windows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from services.inference.pcm import Floats

FRAME_MS = 32
DIP_FRAMES = 5


@dataclass(frozen=True, slots=True)
class SpeechThresholds:
    """When speech starts and ends.

    A region opens at 0.4 and closes below 0.25 only: single frames between words waver around one
    threshold. 0.25 s of silence ends a region, a breath does not; 0.1 s of padding keeps plosives and
    word ends; less than 0.25 s is a click or a cough. With 0.5, 0.35 and 0.5 s, meeting excerpts and
    simulated talk have 3 points more diarization error: quiet words are missed, and spans
    reach across a change of speaker.
    """

    open_probability: float = 0.4
    close_probability: float = 0.25
    shortest_silence_ms: int = 250
    shortest_speech_ms: int = 250
    padding_ms: int = 100


@dataclass(frozen=True, slots=True, order=True)
class Region:
    """A stretch of file time, [start_ms, end_ms)."""

    start_ms: int
    end_ms: int

    @property
    def duration_ms(self) -> int:
        """Length of the stretch."""
        return self.end_ms - self.start_ms


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """The engine's unit of work: one stretch of the file, decoded on its own."""

    index: int
    start_ms: int
    end_ms: int

    @property
    def duration_ms(self) -> int:
        """Length of the window."""
        return self.end_ms - self.start_ms

    def to_file_ms(self, window_ms: int) -> int:
        """File time of a time that counts from the window's start, kept inside the window."""
        return min(self.end_ms, self.start_ms + max(0, window_ms))


def find_regions(probabilities: Floats, duration_ms: int, thresholds: SpeechThresholds | None = None) -> list[Region]:
    """Regions with speech, in order and apart from each other.

    probabilities: (frames,) of 32 ms. duration_ms: length of the audio, which cuts the padding.
    """
    thresholds = thresholds or SpeechThresholds()
    padding = thresholds.padding_ms
    regions: list[Region] = []
    for start, end in _voiced_runs(probabilities, thresholds):
        start_ms, end_ms = start * FRAME_MS, min(end * FRAME_MS, duration_ms)
        if end_ms - start_ms < thresholds.shortest_speech_ms:
            continue
        start_ms, end_ms = max(0, start_ms - padding), min(duration_ms, end_ms + padding)
        if regions and start_ms <= regions[-1].end_ms:
            start_ms = regions.pop().start_ms
        regions.append(Region(start_ms, end_ms))
    return regions


def _voiced_runs(probabilities: Floats, thresholds: SpeechThresholds) -> Iterator[tuple[int, int]]:
    """Frame ranges between an opening and the first closing frame of a long enough silence."""
    patience = thresholds.shortest_silence_ms / FRAME_MS
    opened = silent_from = None
    for frame, probability in enumerate(probabilities.tolist()):
        if probability >= thresholds.open_probability:
            opened, silent_from = frame if opened is None else opened, None
        elif opened is not None and probability < thresholds.close_probability:
            silent_from = frame if silent_from is None else silent_from
            if frame + 1 - silent_from >= patience:
                yield opened, silent_from
                opened = silent_from = None
    if opened is not None:
        yield opened, len(probabilities) if silent_from is None else silent_from


def speech_ratio(regions: Sequence[Region], duration_ms: int) -> float:
    """Share of the audio inside regions, 0 to 1; 0 for no audio."""
    if duration_ms <= 0:
        return 0.0
    return min(1.0, sum(region.duration_ms for region in regions) / duration_ms)


def plan_windows(
    regions: Sequence[Region],
    probabilities: Floats,
    max_seconds: float = 30.0,
    longest_pause_ms: int = 2_000,
) -> list[Window]:
    """Windows that hold every region exactly once, none longer than `max_seconds`.

    Neighbours share a window while they fit and the pause between them is short: the engine gets
    context, and a window stays one stretch of the file whose times need an offset only. A region that
    is too long is cut where speech is least likely. Raises ValueError below one second.
    """
    longest_ms = int(max_seconds * 1000)
    if longest_ms < 1000:
        raise ValueError("a window holds at least one second")
    merged: list[Region] = []
    for piece in _short_pieces(regions, probabilities, longest_ms):
        last = merged[-1] if merged else None
        if last is not None and piece.start_ms - last.end_ms <= longest_pause_ms and piece.end_ms - last.start_ms <= longest_ms:
            merged[-1] = Region(last.start_ms, piece.end_ms)
        else:
            merged.append(piece)
    return [Window(index, region.start_ms, region.end_ms) for index, region in enumerate(merged)]


def _short_pieces(regions: Sequence[Region], probabilities: Floats, longest_ms: int) -> Iterator[Region]:
    for region in regions:
        start_ms = region.start_ms
        while region.end_ms - start_ms > longest_ms:
            cut_ms = _quietest_ms(probabilities, start_ms + longest_ms // 2, start_ms + longest_ms)
            yield Region(start_ms, cut_ms)
            start_ms = cut_ms
        yield Region(start_ms, region.end_ms)


def _quietest_ms(probabilities: Floats, from_ms: int, until_ms: int) -> int:
    """The middle of the 160 ms with the lowest probability in a range, the latest of equals.

    One frame alone may be a stop consonant. Without frames in the range: its end.
    """
    first, last = -(-from_ms // FRAME_MS), until_ms // FRAME_MS
    candidates = probabilities[first:last]
    if not len(candidates):
        return until_ms
    padded = np.pad(candidates.astype(np.float64), DIP_FRAMES // 2, mode="edge")
    sums = np.lib.stride_tricks.sliding_window_view(padded, DIP_FRAMES).sum(axis=1)
    latest = len(sums) - 1 - int(np.argmin(sums[::-1]))
    return (first + latest) * FRAME_MS + FRAME_MS // 2
