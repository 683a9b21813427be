"""One job's audio to its transcript: speech, windows, words, speakers. Pure but for the engine and the checkpoints."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from structlog.typing import FilteringBoundLogger

from services.inference.assembly import Recognition, no_speech, to_transcript, to_window_transcript
from services.inference.audio import Audio
from services.inference.diarization.clustering import SpeakerCount
from services.inference.diarization.spans import embedding_spans
from services.inference.diarization.turns import diarize
from services.inference.domain import EngineUnavailable, TranscriptionFailed
from services.inference.engines.engine import Engine, EngineFailed, WindowFailed, WindowParameters
from services.inference.failures import ungrouped
from services.inference.models.vad_state import VadState, gain_for
from services.inference.pcm import Floats, loud_level_dbfs
from services.inference.prompt import prepare_prompt
from services.inference.speakers import embed_spans, name_speakers
from services.inference.transcript import Turn
from services.inference.windows import FRAME_MS, Region, Window, find_regions, plan_windows, speech_ratio
from services.mesh import semconv
from steno.inference.v1.window_transcript_pb2 import WindowTranscript
from steno.jobs.v1.job_pb2 import TranscriptionConfig
from steno.jobs.v1.transcript_pb2 import Transcript

# Shares of the whole work, from the stages' measured times on two cores.
PROGRESS_AFTER_DECODE = 0.02
_PROGRESS_AFTER_SPEECH = 0.05
_PROGRESS_AFTER_WINDOWS = 0.9
_PROGRESS_AFTER_SPEAKERS = 0.99
_WINDOWS_IN_FLIGHT = 4
# 4,096 frames of the model: a whole number of them, or pieces would hear other audio than the whole does.
_VAD_PIECE_MS = 4096 * FRAME_MS

PutWindow = Callable[[int, WindowTranscript, float], Awaitable[None]]


@dataclass(frozen=True)
class SpeechFloor:
    """What counts as speech worth transcribing."""

    ratio: float
    seconds: float

    def reached(self, regions: Sequence[Region], ratio: float) -> bool:
        """True when there is speech, and both its share and its length are enough."""
        return bool(regions) and ratio >= self.ratio and sum(region.duration_ms for region in regions) >= self.seconds * 1000


@dataclass(frozen=True)
class Reports:
    """Where the pipeline says how far it is. speech: detected and ratio; window: a finished one; progress: 0 to 1."""

    speech: Callable[[bool, float], Awaitable[None]]
    window: PutWindow
    progress: Callable[[float], None]


@dataclass(frozen=True)
class Pipeline:
    """The stages around one engine."""

    engine: Engine
    floor: SpeechFloor
    logger: FilteringBoundLogger

    async def transcribe(
        self, audio: Audio, config: TranscriptionConfig, finished: Mapping[int, WindowTranscript], reports: Reports
    ) -> Transcript:
        """The transcript, without its job's id.

        finished: windows of earlier attempts; those of the same plan, engine and model are not repeated.
        Raises TranscriptionFailed when the engine failed on every window, EngineFailed or EngineUnavailable when it cannot work at all.
        """
        with _timed("speech"):
            probabilities = await self._speech_probabilities(audio, reports)
            regions = await asyncio.to_thread(find_regions, probabilities, audio.duration_ms)
        ratio = speech_ratio(regions, audio.duration_ms)
        detected = self.floor.reached(regions, ratio)
        reports.progress(_PROGRESS_AFTER_SPEECH)
        await reports.speech(detected, ratio)
        if not detected:
            return no_speech(audio, ratio, self.engine)
        windows = plan_windows(regions, probabilities, self.engine.max_window_seconds)
        self.logger.info("planned", windows=len(windows), speech_ratio=round(ratio, 3))
        with _timed("windows"):
            heard = await self._transcribe_windows(audio, windows, config, finished, reports)
        turns, names = await self._turns(audio, regions, config, reports) if config.diarize else ([], {})
        reports.progress(_PROGRESS_AFTER_SPEAKERS)
        return await asyncio.to_thread(to_transcript, Recognition(audio, heard, turns, ratio, config, self.engine, names))

    async def _speech_probabilities(self, audio: Audio, reports: Reports) -> Floats:
        state = VadState(gain=gain_for(await asyncio.to_thread(loud_level_dbfs, audio.samples)))
        found: list[Floats] = [np.zeros(0, np.float32)]
        for start_ms in range(0, audio.duration_ms, _VAD_PIECE_MS):
            piece = await asyncio.to_thread(audio.copy, start_ms, start_ms + _VAD_PIECE_MS)
            probabilities, state = await self.engine.speech_probabilities(piece, state)
            found.append(probabilities)
            reports.progress(_between(PROGRESS_AFTER_DECODE, _PROGRESS_AFTER_SPEECH, start_ms / audio.duration_ms))
        return np.concatenate(found)

    async def _transcribe_windows(
        self,
        audio: Audio,
        windows: Sequence[Window],
        config: TranscriptionConfig,
        finished: Mapping[int, WindowTranscript],
        reports: Reports,
    ) -> list[WindowTranscript]:
        run = _WindowRun(self.engine, audio, window_parameters(config), reports, _total_ms(windows), self.logger)
        heard: dict[int, WindowTranscript] = {}
        missing: list[Window] = []
        for window in windows:
            known = finished.get(window.index)
            if known is not None and self._reusable(known, window):
                heard[window.index] = known
                reports.progress(run.count(window))
                self.logger.info("window reused", index=window.index)
            else:
                missing.append(window)
        slots = asyncio.Semaphore(_WINDOWS_IN_FLIGHT)
        with ungrouped():
            async with asyncio.TaskGroup() as group:
                tasks = {
                    window.index: group.create_task(run.transcribe(window, slots), name=f"window {window.index}") for window in missing
                }
        heard.update({index: task.result() for index, task in tasks.items()})
        if all(window.gap_reason for window in heard.values()):
            await self._blame()
        return [heard[window.index] for window in windows]

    async def _blame(self) -> NoReturn:
        """No window could be transcribed: raises EngineUnavailable when the engine is gone, else TranscriptionFailed."""
        try:
            await self.engine.check()
        except EngineFailed as error:
            raise EngineUnavailable from error
        raise TranscriptionFailed

    def _reusable(self, known: WindowTranscript, window: Window) -> bool:
        same_place = known.start_offset_ms == window.start_ms and known.end_offset_ms == window.end_ms
        return same_place and known.engine == self.engine.name and known.model == self.engine.model and not known.gap_reason

    async def _turns(
        self, audio: Audio, regions: Sequence[Region], config: TranscriptionConfig, reports: Reports
    ) -> tuple[list[Turn], dict[int, str]]:
        def embedded(done_ms: int) -> None:
            reports.progress(_between(_PROGRESS_AFTER_WINDOWS, _PROGRESS_AFTER_SPEAKERS, done_ms / audio.duration_ms))

        with _timed("speakers"):
            spans = embedding_spans(regions, audio.duration_ms)
            embeddings = await embed_spans(self.engine, audio, regions, spans, embedded)
            turns = await asyncio.to_thread(diarize, regions, spans, embeddings, speaker_count(config))
            return turns, await asyncio.to_thread(name_speakers, turns, spans, embeddings, config.known_speakers)


@dataclass
class _WindowRun:
    """The windows of one job in flight."""

    engine: Engine
    audio: Audio
    parameters: WindowParameters
    reports: Reports
    total_ms: int
    logger: FilteringBoundLogger
    done_ms: int = 0

    def count(self, window: Window) -> float:
        """Progress once this window is done too."""
        self.done_ms += window.duration_ms
        return _between(_PROGRESS_AFTER_SPEECH, _PROGRESS_AFTER_WINDOWS, self.done_ms / max(1, self.total_ms))

    async def transcribe(self, window: Window, slots: asyncio.Semaphore) -> WindowTranscript:
        async with slots:
            transcript = await self._hear(window)
            semconv.WINDOWS.labels("gap" if transcript.gap_reason else "text").inc()
            await self.reports.window(window.index, transcript, self.count(window))
            self.logger.info("window finished", index=window.index, gap=transcript.gap_reason)
            return transcript

    async def _hear(self, window: Window) -> WindowTranscript:
        try:
            result = await self.engine.transcribe_window(self.audio.copy(window.start_ms, window.end_ms), self.parameters)
        except WindowFailed:
            return to_window_transcript(window, self.engine, None)
        return to_window_transcript(window, self.engine, result)


def window_parameters(config: TranscriptionConfig) -> WindowParameters:
    """What the order asks of every window."""
    return WindowParameters(
        language=config.language or None,
        prompt=prepare_prompt(config.prompt),
        translate=config.task == TranscriptionConfig.TASK_TRANSLATE,
        temperature=config.temperature if config.HasField("temperature") else None,
    )


def speaker_count(config: TranscriptionConfig) -> SpeakerCount:
    """What the caller knows about the speakers; contradictions resolve to the larger number."""
    if config.speaker_count:
        return SpeakerCount.exactly(config.speaker_count)
    minimum = config.min_speaker_count or 1
    default = SpeakerCount()
    return SpeakerCount(minimum, max(minimum, config.max_speaker_count or default.maximum))


def _between(first: float, last: float, share: float) -> float:
    return first + (last - first) * min(1.0, share)


def _total_ms(windows: Sequence[Window]) -> int:
    return sum(window.duration_ms for window in windows)


def _timed(stage: str) -> AbstractContextManager[object]:
    return semconv.STAGE_SECONDS.labels(stage).time()
