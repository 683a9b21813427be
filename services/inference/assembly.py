"""From what the models said to the messages that are stored."""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from types import MappingProxyType

from services.inference.alignment import assign_speakers, build_segments
from services.inference.audio import Audio
from services.inference.casing import write_out
from services.inference.domain import SPEECHLESS_SUGGESTION
from services.inference.doubts import flags, is_guessed_loop, plausible, said_twice
from services.inference.engines.engine import Engine
from services.inference.languages import spoken_languages
from services.inference.transcript import Segment, Turn, Verdict, WindowResult, Word, speaker_labels
from services.inference.windows import Window
from steno.inference.v1.window_transcript_pb2 import WindowTranscript
from steno.jobs.v1 import transcript_pb2
from steno.jobs.v1.job_pb2 import TranscriptionConfig
from steno.jobs.v1.transcript_pb2 import Gap, Transcript

WINDOW_FAILED = "WINDOW_FAILED"
REPETITIVE_TEXT = "REPETITIVE_TEXT"
REPETITIVE_AUDIO = "REPETITIVE_AUDIO"


@dataclass(frozen=True)
class Recognition:
    """Everything the models said about one job. names: of the speakers that are known, by their index."""

    audio: Audio
    windows: Sequence[WindowTranscript]
    turns: Sequence[Turn]
    speech_ratio: float
    config: TranscriptionConfig
    engine: Engine
    names: Mapping[int, str] = field(default_factory=dict)


def to_window_transcript(window: Window, engine: Engine, result: WindowResult | None) -> WindowTranscript:
    """A window's checkpoint; without a result, and with a text that only repeats itself, it says that there is a gap."""
    transcript = WindowTranscript(start_offset_ms=window.start_ms, end_offset_ms=window.end_ms, engine=engine.name, model=engine.model)
    if result is None:
        transcript.gap_reason = WINDOW_FAILED
        return transcript
    transcript.language = result.language or ""
    transcript.verdict = result.verdict or ""
    transcript.language_probabilities.update(result.language_probabilities)
    for name, value in (
        ("avg_logprob", result.average_log_probability),
        ("no_speech_prob", result.no_speech_probability),
        ("compression_ratio", result.compression_ratio),
        ("temperature", result.temperature),
    ):
        if value is not None:
            setattr(transcript, name, value)
    if result.verdict is Verdict.REPETITIVE or is_guessed_loop(result.words):
        transcript.gap_reason = REPETITIVE_TEXT
    elif result.verdict is not Verdict.SILENT:
        transcript.words.extend(_word_message(_in_file_time(word, window)) for word in plausible(result.words))
    return transcript


def to_loop_transcript(window: Window, engine: Engine) -> WindowTranscript:
    """The checkpoint of a window whose sound only repeats itself."""
    transcript = to_window_transcript(window, engine, None)
    transcript.gap_reason = REPETITIVE_AUDIO
    return transcript


def _in_file_time(word: Word, window: Window) -> Word:
    return Word(word.text, window.to_file_ms(word.start_ms), window.to_file_ms(word.end_ms), word.probability)


def _word_message(word: Word, label: str = "") -> transcript_pb2.Word:
    message = transcript_pb2.Word(start_offset_ms=word.start_ms, end_offset_ms=word.end_ms, text=word.text)
    if word.probability is not None:
        message.probability = round(word.probability, 4)
    message.speaker = label
    return message


def no_speech(audio: Audio, ratio: float, engine: Engine) -> Transcript:
    """The transcript of audio in which nobody talks."""
    return Transcript(
        speech_detected=False,
        speech_ratio=ratio,
        suggestion=SPEECHLESS_SUGGESTION,
        audio_duration_ms=audio.duration_ms,
        truncated=audio.truncated,
        engine=engine.name,
        model=engine.model,
    )


def holds_speech(windows: Iterable[WindowTranscript]) -> bool:
    """False when there is no word and nothing that could have been one: only sound that repeats itself."""
    return any(window.words or window.gap_reason not in ("", REPETITIVE_AUDIO) for window in windows)


def to_transcript(recognition: Recognition) -> Transcript:
    """The whole transcript, without its job's id; one without a word says that nobody talks, unless the engine failed."""
    audio, engine, windows = recognition.audio, recognition.engine, recognition.windows
    if not holds_speech(windows):
        return no_speech(audio, recognition.speech_ratio, engine)
    words = assign_speakers(list(words_of(windows)), recognition.turns)
    labels = speaker_labels({turn.speaker for turn in recognition.turns}, recognition.names)
    segments = cut_segments(words, windows)
    messages = segment_messages(segments, windows, recognition.config, engine, labels, said_twice(windows))
    languages = spoken_languages(windows)
    return Transcript(
        text=" ".join(message.text for message in messages),
        language=languages[0].language if languages else "",
        languages=languages,
        segments=messages,
        speech_detected=True,
        speech_ratio=recognition.speech_ratio,
        audio_duration_ms=audio.duration_ms,
        truncated=audio.truncated,
        engine=engine.name,
        model=engine.model,
        gaps=[gap_of(window) for window in windows if window.gap_reason],
        speakers=list(dict.fromkeys(message.speaker for message in messages if message.speaker)),
    )


def cut_segments(words: Iterable[Word], windows: Sequence[WindowTranscript]) -> list[Segment]:
    """Segments of one speaker and one language each. windows: those that the words are in, in order."""
    window_at = _finder(windows)
    stretches = groupby(words, key=lambda word: window_at(word.start_ms).language)
    return [segment for _, stretch in stretches for segment in build_segments(list(stretch))]


def segment_messages(
    segments: Sequence[Segment],
    windows: Sequence[WindowTranscript],
    config: TranscriptionConfig,
    engine: Engine,
    labels: Mapping[int, str] = MappingProxyType({}),
    twice: Collection[int] = (),
    first: int = 0,
) -> list[transcript_pb2.Segment]:
    """The segments as they are stored. labels: of speakers. twice: as `said_twice` finds them. first: id of the first segment."""
    window_at = _finder(windows)
    written = segments if engine.punctuates else write_out(segments)
    messages = [
        _segment_message(index, segment, window_at(segment.start_ms), labels, twice) for index, segment in enumerate(written, first)
    ]
    if not config.word_timestamps:
        for message in messages:
            message.ClearField("words")
    return messages


def _finder(windows: Sequence[WindowTranscript]) -> Callable[[int], WindowTranscript]:
    starts = [window.start_offset_ms for window in windows]
    return lambda start_ms: windows[max(0, bisect_right(starts, start_ms) - 1)]


def words_of(windows: Iterable[WindowTranscript]) -> Iterator[Word]:
    """All words in order, without speakers."""
    for window in windows:
        for word in window.words:
            probability = word.probability if word.HasField("probability") else None
            yield Word(word.text, word.start_offset_ms, word.end_offset_ms, probability)


def _segment_message(
    index: int, segment: Segment, window: WindowTranscript, labels: Mapping[int, str], twice: Collection[int]
) -> transcript_pb2.Segment:
    message = transcript_pb2.Segment(
        id=index,
        start_offset_ms=segment.start_ms,
        end_offset_ms=segment.end_ms,
        speaker=_label(segment.speaker, labels),
        text=segment.text,
        language=window.language,
        flags=list(flags(segment, window, twice)),
    )
    for name in ("avg_logprob", "no_speech_prob", "compression_ratio", "temperature"):
        if window.HasField(name):
            setattr(message, name, getattr(window, name))
    message.words.extend(_word_message(word, _label(word.speaker, labels)) for word in segment.words)
    return message


def _label(speaker: int | None, labels: Mapping[int, str]) -> str:
    return "" if speaker is None else labels[speaker]


def gap_of(window: WindowTranscript) -> Gap:
    """The gap that a window without text leaves."""
    return Gap(start_offset_ms=window.start_offset_ms, end_offset_ms=window.end_offset_ms, reason=window.gap_reason)
