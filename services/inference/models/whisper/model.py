"""Windows in, words out: the whole path of one model over a batch."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from services.inference.models.whisper.architecture import read_architecture
from services.inference.models.whisper.beams import BeamDecoder
from services.inference.models.whisper.decoding import Decoded, Decoder, never
from services.inference.models.whisper.graphs import CPU_PROVIDER, Graphs, Tensors
from services.inference.models.whisper.ladder import Climb, Ladder, Try
from services.inference.models.whisper.log_mel import LogMel
from services.inference.models.whisper.precision import Precision, graphs_folder
from services.inference.models.whisper.prompts import Task, build_prompt, token_limit
from services.inference.models.whisper.quality import Thresholds, compression_ratio
from services.inference.models.whisper.rules import TokenRules
from services.inference.models.whisper.timing import Utterance, WordTimer
from services.inference.models.whisper.vocabulary import Vocabulary, read_generation_config, read_vocabulary
from services.inference.pcm import SAMPLE_RATE_HZ, Pcm, duration_ms, sound_bounds_ms
from services.inference.transcript import Verdict, WindowResult, Word

DROPPED = (Verdict.SILENT, Verdict.REPETITIVE)
ENGLISH = "en"
LANGUAGES_TOLD = 5


class UnknownLanguage(ValueError):
    """The model does not know the language."""


@dataclass(frozen=True, slots=True)
class WhisperRequest:
    """One window of at most 30 s. task.language: None to find out. temperature: of the first try.

    cancelled: whether nobody waits for it any more; `transcribe_once` asks.
    """

    pcm: Pcm
    task: Task
    temperature: float = 0.0
    cancelled: Callable[[], bool] = never


@dataclass(frozen=True, slots=True)
class WhisperResult:
    """What was heard. tokens: all that were decoded, also where silence or a loop left no text of them."""

    window: WindowResult
    verdict: Verdict
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WhisperSettings:
    """How to decode. beams: 1 is greedy; more cost as many times the decoder's work."""

    thresholds: Thresholds = field(default_factory=Thresholds)
    beams: int = 1


@dataclass(frozen=True, slots=True)
class Heard:
    """A batch behind the encoder. languages: their probabilities, for each window that does not name its own."""

    requests: Sequence[WhisperRequest]
    crossed: Tensors
    languages: Sequence[Mapping[str, float]]
    tasks: Sequence[Task]
    climbs: Sequence[Climb]


class WhisperModel:
    """One model at one precision; it keeps nothing between calls, so several threads may make them."""

    def __init__(self, graphs: Graphs, vocabulary: Vocabulary, rules: TokenRules, settings: WhisperSettings) -> None:
        self._graphs = graphs
        self._vocabulary = vocabulary
        self._decoder = Decoder(graphs, rules, vocabulary.special)
        beams = BeamDecoder(self._decoder, settings.beams) if settings.beams > 1 else None
        self._ladder = Ladder(self._decoder, vocabulary, settings.thresholds, beams)
        self._timer = WordTimer(graphs, vocabulary)
        self._log_mel = LogMel(graphs.architecture.mel_bands)

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes it transcribes."""
        return tuple(self._vocabulary.special.languages) or (ENGLISH,)

    @property
    def device(self) -> str:
        """cpu or cuda."""
        return self._graphs.device

    def transcribe(self, requests: Sequence[WhisperRequest]) -> list[WhisperResult]:
        """One result per request, in their order; what else is in the batch changes none of them.

        Windows that cannot be believed are decoded again at higher temperatures, without the others. Raises AudioTooLong,
        UnknownLanguage.
        """
        if not requests:
            return []
        heard = self._hear(requests)
        return self._results(heard, self._ladder.climb(heard.crossed, heard.climbs))

    def transcribe_once(self, requests: Sequence[WhisperRequest]) -> list[WhisperResult | None]:
        """One try per request at its own temperature, whatever its verdict: the caller climbs. None for those that were cancelled.

        Raises AudioTooLong, UnknownLanguage.
        """
        results: list[WhisperResult | None] = [None] * len(requests)
        rows = [row for row, request in enumerate(requests) if not request.cancelled()]
        if not rows:
            return results
        heard = self._hear([requests[row] for row in rows])
        tries = self._ladder.step(heard.crossed, heard.climbs)
        for row, found, result in zip(rows, tries, self._results(heard, tries), strict=True):
            results[row] = None if found.decoded.cancelled else result
        return results

    def _hear(self, requests: Sequence[WhisperRequest]) -> Heard:
        for request in requests:
            if request.task.language not in (None, *self.languages):
                raise UnknownLanguage(str(request.task.language))
        crossed = self._graphs.encode(self._log_mel.batch([request.pcm for request in requests], self._graphs.threads))
        languages = self._languages(crossed, [request.task for request in requests])
        tasks = [self._named(request.task, probabilities) for request, probabilities in zip(requests, languages, strict=True)]
        climbs = [self._climb(*pair) for pair in zip(requests, tasks, strict=True)]
        return Heard(requests, crossed, languages, tasks, climbs)

    def _results(self, heard: Heard, tries: Sequence[Try]) -> list[WhisperResult]:
        utterances = [_utterance(*parts) for parts in zip(heard.requests, heard.tasks, tries, strict=True)]
        words = self._timer.words(heard.crossed, utterances)
        return [_result(*parts) for parts in zip(heard.tasks, heard.languages, tries, words, strict=True)]

    def _languages(self, crossed: Tensors, tasks: Sequence[Task]) -> list[dict[str, float]]:
        """Probabilities of the likeliest languages, falling, for each task that does not name its own."""
        found: list[dict[str, float]] = [{} for _ in tasks]
        rows = [row for row, task in enumerate(tasks) if task.language is None]
        if rows and self._vocabulary.special.languages:
            probabilities = self._decoder.language_probabilities(self._graphs.select(crossed, rows), len(rows))
            for row, share in zip(rows, probabilities, strict=True):
                likeliest = np.argsort(-share, kind="stable")[:LANGUAGES_TOLD]
                found[row] = {self.languages[int(index)]: float(share[index]) for index in likeliest}
        return found

    def _named(self, task: Task, probabilities: Mapping[str, float]) -> Task:
        """The task with its language: asked for, else the likeliest, else the only one."""
        if not self._vocabulary.special.languages:
            return replace(task, language=ENGLISH)
        return task if task.language else replace(task, language=next(iter(probabilities)))

    def _climb(self, request: WhisperRequest, task: Task) -> Climb:
        context = self._graphs.architecture.context
        prompt = build_prompt(self._vocabulary, task, context)
        most_tokens = token_limit(len(request.pcm) / SAMPLE_RATE_HZ, task.language, prompt, context)
        return Climb(prompt, most_tokens, request.temperature, zlib.crc32(request.pcm.tobytes()), request.cancelled)


def _utterance(request: WhisperRequest, task: Task, found: Try) -> Utterance:
    decoded = Decoded() if found.decoded.cancelled else found.decoded
    return Utterance(replace(task, timestamps=False), decoded, duration_ms(request.pcm), sound_bounds_ms(request.pcm))


def _result(task: Task, languages: Mapping[str, float], found: Try, words: tuple[Word, ...]) -> WhisperResult:
    dropped = found.verdict in DROPPED
    window = WindowResult(
        text="" if dropped else found.text,
        words=() if dropped else words,
        language=task.language,
        average_log_probability=found.decoded.average_log_probability,
        no_speech_probability=found.decoded.no_speech_probability,
        compression_ratio=compression_ratio(found.text),
        temperature=found.temperature,
        verdict=found.verdict,
        language_probabilities=languages,
    )
    return WhisperResult(window, found.verdict, tuple(found.decoded.tokens))


def load_whisper(
    folder: Path,
    precision: Precision = Precision.FP32,
    providers: Sequence[str] = (CPU_PROVIDER,),
    threads: int = 1,
    settings: WhisperSettings | None = None,
    device_id: int = 0,
) -> WhisperModel:
    """The model of a folder in Hugging Face layout that was exported at this precision. Raises UnsupportedModel.

    device_id: of the GPU, where the providers name one.
    """
    vocabulary = read_vocabulary(folder)
    rules = TokenRules(vocabulary.special, read_generation_config(folder))
    graphs = Graphs(read_architecture(folder), graphs_folder(folder, precision), providers, threads, device_id)
    return WhisperModel(graphs, vocabulary, rules, settings or WhisperSettings())
