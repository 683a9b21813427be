"""A job's windows at the engine: each in its turn, kept as soon as it is done, and once more where the file speaks against its language."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from structlog.typing import FilteringBoundLogger

from services.inference.assembly import WINDOW_FAILED, holds_speech, to_loop_transcript, to_window_transcript
from services.inference.audio import Audio
from services.inference.domain import EngineUnavailable, TranscriptIncomplete
from services.inference.engines.engine import Engine, EngineFailed, WindowFailed, WindowParameters
from services.inference.failures import ungrouped
from services.inference.languages import misheard
from services.inference.loops import repeats_itself
from services.inference.scheduling import Party, Priority, WindowScheduler, priority_after
from services.inference.transcript import Verdict
from services.inference.windows import Window
from services.mesh import semconv
from services.mesh.semconv import Attribute, Step
from services.mesh.tracing.spans import span
from steno.inference.v1.window_transcript_pb2 import WindowTranscript

# Windows of one job that wait for a turn or have one: no engine takes so many of one job, and ten hours are 1,200.
MOST_WAITING = 32

KeepWindow = Callable[[int, WindowTranscript, float], Awaitable[None]]


@dataclass
class Hearing:
    """The windows of one job.

    strict: a gap is the end. keep: told each result, by its place, and the share of the speech that is done. advance: told that share
    where nothing is to be kept.
    """

    engine: Engine
    scheduler: WindowScheduler
    party: Party
    audio: Audio
    parameters: WindowParameters
    strict: bool
    keep: KeepWindow
    advance: Callable[[float], object]
    logger: FilteringBoundLogger
    _heard: dict[int, WindowTranscript] = field(default_factory=dict)
    _priorities: dict[int, Priority] = field(default_factory=dict)
    _done_ms: int = 0
    _total_ms: int = 1

    async def hear(self, windows: Sequence[Window], finished: Mapping[int, WindowTranscript]) -> list[WindowTranscript]:
        """The result of every window, in order. finished: those of earlier attempts, of which the fitting ones are not repeated.

        Raises EngineFailed, and for a strict order TranscriptIncomplete, or EngineUnavailable when the gap is the engine's fault.
        """
        ends = list(accumulate(window.duration_ms for window in windows))
        self._priorities = {window.index: priority_after(end - window.duration_ms) for window, end in zip(windows, ends, strict=True)}
        self._total_ms = max(1, ends[-1])
        missing = [window for window in windows if not self._reuse(window, finished.get(window.index))]
        await self._all([(window, self.parameters) for window in missing])
        if self.parameters.language is None:
            await self._correct(windows)
        heard = [self._heard[window.index] for window in windows]
        if any(window.gap_reason for window in heard) and holds_speech(heard):
            await self._refuse_gap()
        return heard

    def _reuse(self, window: Window, known: WindowTranscript | None) -> bool:
        if known is None or known.gap_reason or (known.engine, known.model) != (self.engine.name, self.engine.model):
            return False
        if (known.start_offset_ms, known.end_offset_ms) != (window.start_ms, window.end_ms):
            return False
        self._heard[window.index] = known
        self._done_ms += window.duration_ms
        self.advance(self._done_ms / self._total_ms)
        self.logger.info("window reused", index=window.index)
        return True

    async def _all(self, asked: Sequence[tuple[Window, WindowParameters]]) -> None:
        """Hear these windows. Whichever turn comes first takes the first of them: their text is followed as it grows."""
        priorities = iter([self._priorities[window.index] for window, _ in asked])
        waiting = iter(asked)

        async def work() -> None:
            for priority in priorities:
                async with self.scheduler.turn(self.party, priority):
                    window, parameters = next(waiting)
                    transcript = await self._decoded(window, parameters)
                await self._keep(window, transcript)

        with ungrouped():
            async with asyncio.TaskGroup() as group:
                for number in range(min(len(asked), MOST_WAITING)):
                    group.create_task(work(), name=f"windows {number}")

    async def _correct(self, windows: Sequence[Window]) -> None:
        """Hear again what was decoded in another language than the file speaks there."""
        found = misheard([self._heard[window.index] for window in windows])
        corrections = {place: language for place, language in found.items() if language in self.engine.languages}
        if corrections:
            self.logger.info("languages corrected", windows=len(corrections))
        await self._all([(windows[place], replace(self.parameters, language=language)) for place, language in corrections.items()])

    async def _keep(self, window: Window, transcript: WindowTranscript) -> None:
        before = self._heard.get(window.index)
        if before is None:
            self._done_ms += window.duration_ms
            semconv.WINDOWS.labels("gap" if transcript.gap_reason else "text").inc()
            semconv.WINDOW_AUDIO_SECONDS.inc(window.duration_ms / 1000)
        elif _is_better(transcript, before):
            transcript.language_probabilities.update(before.language_probabilities)
        else:
            return
        self._heard[window.index] = transcript
        await self.keep(window.index, transcript, self._done_ms / self._total_ms)
        self.logger.info("window finished", index=window.index, gap=transcript.gap_reason)
        if transcript.gap_reason == WINDOW_FAILED:
            await self._refuse_gap()

    async def _refuse_gap(self) -> None:
        """Nothing, unless the order is strict."""
        if not self.strict:
            return
        try:
            await self.engine.check()
        except EngineFailed as error:
            raise EngineUnavailable from error
        raise TranscriptIncomplete

    async def _decoded(self, window: Window, parameters: WindowParameters) -> WindowTranscript:
        asked = replace(parameters, priority=int(self._priorities[window.index]))
        # Cut within the turn: of hours of audio only the windows under way are in memory.
        pcm = self.audio.copy(window.start_ms, window.end_ms)
        if await asyncio.to_thread(repeats_itself, pcm):
            return to_loop_transcript(window, self.engine)
        try:
            with span(Step.WINDOW, attributes={Attribute.WINDOW: window.index}), semconv.WINDOW_SECONDS.time():
                result = await self.engine.transcribe_window(pcm, asked)
        except WindowFailed:
            return to_window_transcript(window, self.engine, None)
        return to_window_transcript(window, self.engine, result)


def _is_better(again: WindowTranscript, before: WindowTranscript) -> bool:
    """Whether the language that the file speaks gave a text that can be believed as well as the one before."""
    return not again.gap_reason and not (again.verdict == Verdict.DOUBTFUL and before.verdict == Verdict.ACCEPTED)
