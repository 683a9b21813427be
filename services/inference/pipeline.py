"""One job's audio to its transcript: speech, windows, words, speakers. Pure but for the engine and the checkpoints."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from structlog.typing import FilteringBoundLogger

from services.inference.assembly import Recognition, holds_speech, no_speech, to_transcript
from services.inference.audio import Audio
from services.inference.diarization.clustering import SpeakerCount
from services.inference.diarization.spans import embedding_spans
from services.inference.diarization.turns import diarize
from services.inference.domain import EngineUnavailable, TranscriptionFailed
from services.inference.engines.engine import Engine, EngineFailed, WindowParameters
from services.inference.failures import ungrouped
from services.inference.hearing import Hearing
from services.inference.models.vad_state import VadState, gain_for
from services.inference.pcm import Floats, loud_level_dbfs
from services.inference.prompt import prepare_prompt
from services.inference.scheduling import Party, WindowScheduler
from services.inference.speakers import embed_spans, name_speakers
from services.inference.transcript import Turn
from services.inference.windows import FRAME_MS, Region, Window, find_regions, plan_windows, speech_ratio
from services.mesh import semconv
from services.mesh.semconv import Step
from services.mesh.tracing.spans import span
from steno.inference.v1.window_transcript_pb2 import WindowTranscript
from steno.jobs.v1.job_pb2 import TranscriptionConfig
from steno.jobs.v1.transcript_pb2 import Transcript

# Shares of the whole work, from the stages' measured times on two cores.
PROGRESS_AFTER_DECODE = 0.02
_PROGRESS_AFTER_SPEECH = 0.05
_PROGRESS_AFTER_MODELS = 0.99
_WORDS_WEIGHT = 0.9
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
    """Where the pipeline says how far it is.

    speech: detected and ratio; planned: all windows; window: a finished one, waited for before the next; progress: 0 to 1.
    """

    speech: Callable[[bool, float], Awaitable[None]]
    window: PutWindow
    progress: Callable[[float], None]
    planned: Callable[[Sequence[Window]], None] = lambda windows: None


@dataclass(frozen=True)
class Order:
    """What is to be done, and for whom."""

    config: TranscriptionConfig
    party: Party


@dataclass
class _Advance:
    """How far words and voices are, each a share of its own, as the progress of the job. words_weight: what part of both the words are."""

    report: Callable[[float], None]
    words_weight: float
    _words: float = 0.0
    _voices: float = 0.0

    def words(self, share: float) -> float:
        """Report this share of the words; returns the progress."""
        self._words = share
        return self._told()

    def voices(self, share: float) -> None:
        """Report this share of the voices."""
        self._voices = share
        self._told()

    def _told(self) -> float:
        share = self.words_weight * self._words + (1 - self.words_weight) * self._voices
        progress = _between(_PROGRESS_AFTER_SPEECH, _PROGRESS_AFTER_MODELS, share)
        self.report(progress)
        return progress


@dataclass(frozen=True)
class Pipeline:
    """The stages around one engine. scheduler: gives its turns to all who use the engine."""

    engine: Engine
    floor: SpeechFloor
    scheduler: WindowScheduler
    logger: FilteringBoundLogger

    async def transcribe(self, audio: Audio, order: Order, finished: Mapping[int, WindowTranscript], reports: Reports) -> Transcript:
        """The transcript, without its job's id.

        finished: windows of earlier attempts; those of the same plan, engine and model are not repeated.
        Raises TranscriptionFailed when the engine failed on every window, TranscriptIncomplete when it failed on one of a strict order,
        EngineFailed or EngineUnavailable when it cannot work at all.
        """
        with _timed("speech", Step.SPEECH):
            probabilities = await self._speech_probabilities(audio, reports)
            regions = await asyncio.to_thread(find_regions, probabilities, audio.duration_ms)
        ratio = speech_ratio(regions, audio.duration_ms)
        detected = self.floor.reached(regions, ratio)
        reports.progress(_PROGRESS_AFTER_SPEECH)
        await reports.speech(detected, ratio)
        if not detected:
            return no_speech(audio, ratio, self.engine)
        windows = plan_windows(regions, probabilities, self.engine.max_window_seconds)
        reports.planned(windows)
        self.logger.info("planned", windows=len(windows), speech_ratio=round(ratio, 3))
        config = order.config
        advance = _Advance(reports.progress, _WORDS_WEIGHT if config.diarize else 1.0)
        hearing = self._hearing(audio, order, reports.window, advance)
        with ungrouped():
            async with asyncio.TaskGroup() as group:
                # Neither needs what the other finds: voices take what words leave of the machine.
                words = group.create_task(self._words(hearing, windows, finished), name="words")
                voices = group.create_task(self._turns(audio, regions, config, advance), name="voices")
        turns, names = voices.result()
        return await asyncio.to_thread(to_transcript, Recognition(audio, words.result(), turns, ratio, config, self.engine, names))

    async def _speech_probabilities(self, audio: Audio, reports: Reports) -> Floats:
        state = VadState(gain=gain_for(await asyncio.to_thread(loud_level_dbfs, audio.samples)))
        found: list[Floats] = [np.zeros(0, np.float32)]
        for start_ms in range(0, audio.duration_ms, _VAD_PIECE_MS):
            piece = await asyncio.to_thread(audio.copy, start_ms, start_ms + _VAD_PIECE_MS)
            probabilities, state = await self.engine.speech_probabilities(piece, state)
            found.append(probabilities)
            reports.progress(_between(PROGRESS_AFTER_DECODE, _PROGRESS_AFTER_SPEECH, start_ms / audio.duration_ms))
        return np.concatenate(found)

    def _hearing(self, audio: Audio, order: Order, put_window: PutWindow, advance: _Advance) -> Hearing:
        return Hearing(
            engine=self.engine,
            scheduler=self.scheduler,
            party=order.party,
            audio=audio,
            parameters=window_parameters(order.config),
            strict=order.config.strict,
            keep=lambda index, window, share: put_window(index, window, advance.words(share)),
            advance=advance.words,
            logger=self.logger,
        )

    async def _words(self, hearing: Hearing, windows: Sequence[Window], finished: Mapping[int, WindowTranscript]) -> list[WindowTranscript]:
        with _timed("windows", Step.WINDOWS):
            heard = await hearing.hear(windows, finished)
        if all(window.gap_reason for window in heard) and holds_speech(heard):
            await self._blame()
        return heard

    async def _blame(self) -> NoReturn:
        """No window could be transcribed: raises EngineUnavailable when the engine is gone, else TranscriptionFailed."""
        try:
            await self.engine.check()
        except EngineFailed as error:
            raise EngineUnavailable from error
        raise TranscriptionFailed

    async def _turns(
        self, audio: Audio, regions: Sequence[Region], config: TranscriptionConfig, advance: _Advance
    ) -> tuple[list[Turn], dict[int, str]]:
        if not config.diarize:
            return [], {}
        with _timed("speakers", Step.SPEAKERS):
            spans = embedding_spans(regions, audio.duration_ms)
            embeddings = await embed_spans(self.engine, audio, regions, spans, lambda done_ms: advance.voices(done_ms / audio.duration_ms))
            turns = await asyncio.to_thread(diarize, regions, spans, embeddings, speaker_count(config))
            return turns, await asyncio.to_thread(name_speakers, turns, spans, embeddings, config.known_speakers)


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


@contextmanager
def _timed(stage: str, step: str) -> Iterator[None]:
    with span(step), semconv.STAGE_SECONDS.labels(stage).time():
        yield
