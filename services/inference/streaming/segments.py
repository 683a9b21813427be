"""Segments as soon as nothing that is still to be heard can change them: the same ones that the whole transcript will have."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from operator import itemgetter

from services.inference.alignment import SEGMENT_PAUSE_MS
from services.inference.assembly import cut_segments, gap_of, segment_messages, words_of
from services.inference.doubts import said_twice
from services.inference.engines.engine import Engine
from services.inference.languages import NEARNESS, misheard
from services.inference.transcript import Word
from services.inference.windows import Window
from steno.inference.v1.inference_service_pb2 import TranscribeResponse
from steno.inference.v1.window_transcript_pb2 import WindowTranscript
from steno.jobs.v1.job_pb2 import TranscriptionConfig
from steno.jobs.v1.transcript_pb2 import Gap, Segment, Transcript

_REACH = len(NEARNESS)


@dataclass
class SegmentStream:
    """The segments and gaps of one transcription in order of time; windows may be told in any order."""

    config: TranscriptionConfig
    engine: Engine
    segment_count: int = 0
    gap_count: int = 0
    _planned: Sequence[Window] = ()
    _heard: dict[int, WindowTranscript] = field(default_factory=dict)
    _next: int = 0
    _windows: list[WindowTranscript] = field(default_factory=list)
    _words: list[Word] = field(default_factory=list)
    _gaps: list[Gap] = field(default_factory=list)
    _spoken: list[WindowTranscript] = field(default_factory=list)
    _twice: set[int] = field(default_factory=set)

    def plan(self, windows: Sequence[Window]) -> None:
        """Take note of all windows that there will be."""
        self._planned = windows

    def add(self, index: int, window: WindowTranscript) -> list[TranscribeResponse]:
        """What is certain once this window is heard. With speakers nothing is, before all are; the end is left to `finish`."""
        if self.config.diarize:
            return []
        self._heard.setdefault(index, window)
        while self._is_final(self._next):
            self._take(self._heard[self._next])
            self._heard.pop(self._next - _REACH, None)
            self._next += 1
        if self._next >= len(self._planned):
            return []
        segments = self._closed(self._planned[self._next].start_ms)
        open_ms = self._words[0].start_ms if self._words else None
        gaps = [gap for gap in self._gaps if open_ms is None or gap.start_offset_ms < open_ms]
        del self._gaps[: len(gaps)]
        return self._in_order(segments, gaps)

    def finish(self, transcript: Transcript) -> list[TranscribeResponse]:
        """What was not sent yet of the whole."""
        return self._in_order(transcript.segments[self.segment_count :], transcript.gaps[self.gap_count :])

    def _is_final(self, index: int) -> bool:
        """Whether the window will stay as it was heard: languages are corrected by the windows beside."""
        window = self._heard.get(index)
        if window is None:
            return False
        if self.config.language or not window.language_probabilities:
            return True
        first, last = max(0, index - _REACH), min(index + _REACH, len(self._planned) - 1)
        beside = [self._heard[place] for place in range(first, last + 1) if place in self._heard]
        return len(beside) == last + 1 - first and index - first not in misheard(beside)

    def _take(self, window: WindowTranscript) -> None:
        self._windows.append(window)
        if window.gap_reason:
            self._gaps.append(gap_of(window))
        if window.words:
            self._words.extend(words_of([window]))
            self._spoken = [*self._spoken[-1:], window]
            self._twice |= said_twice(self._spoken)

    def _closed(self, border_ms: int) -> list[Segment]:
        """Segments that no word from this time on can join; their words are forgotten."""
        # A word that was moved onto the border counts for the window that begins there.
        words = list(takewhile(lambda word: word.start_ms < border_ms, self._words))
        segments = cut_segments(words, self._windows)
        if segments and border_ms - words[-1].end_ms <= SEGMENT_PAUSE_MS:
            segments.pop()
        messages = segment_messages(segments, self._windows, self.config, self.engine, twice=self._twice, first=self.segment_count)
        self._forget(sum(len(segment.words) for segment in segments))
        return messages

    def _forget(self, word_count: int) -> None:
        del self._words[:word_count]
        open_ms = self._words[0].start_ms if self._words else None
        while len(self._windows) > 1 and (open_ms is None or self._windows[1].start_offset_ms <= open_ms):
            self._windows.pop(0)

    def _in_order(self, segments: Sequence[Segment], gaps: Sequence[Gap]) -> list[TranscribeResponse]:
        self.segment_count += len(segments)
        self.gap_count += len(gaps)
        told = [(segment.start_offset_ms, TranscribeResponse(segment=segment)) for segment in segments]
        lost = [(gap.start_offset_ms, TranscribeResponse(gap=gap)) for gap in gaps]
        return [response for _, response in sorted([*told, *lost], key=itemgetter(0))]
