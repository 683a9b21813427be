"""OpenAI's documents, read back by its own client's types and by its own formulas."""

import math
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.audio import Transcription, TranscriptionDiarized, TranscriptionVerbose

from services.gateway.formats.diarized import diarized_segments, speaker_names, to_diarized
from services.gateway.formats.language_names import LANGUAGE_NAMES, english_name
from services.gateway.formats.logprobs import to_logprobs
from services.gateway.formats.usage import to_usage
from services.gateway.formats.verbose import SEGMENT, WORD, compression_ratio, to_verbose
from steno.jobs.v1.transcript_pb2 import Segment, Transcript, Word

SEGMENT_KEYS = {
    "id", "seek", "start", "end", "text", "tokens", "temperature", "avg_logprob", "compression_ratio", "no_speech_prob",
}  # fmt: skip
ANY_NUMBER = st.floats(allow_nan=True, allow_infinity=True)


def talk() -> Transcript:
    first = Segment(id=0, start_offset_ms=500, end_offset_ms=2_250, speaker="SPEAKER_01", text="Hello there.", language="en")
    first.words.append(Word(start_offset_ms=500, end_offset_ms=900, text="Hello", probability=0.5))
    first.words.append(Word(start_offset_ms=900, end_offset_ms=2_250, text="there.", probability=1.0))
    second = Segment(id=1, start_offset_ms=3_000, end_offset_ms=4_000, speaker="Ann", text="Hi.", temperature=0.2)
    second.avg_logprob, second.no_speech_prob, second.compression_ratio = -0.25, 0.125, 1.5
    second.words.append(Word(start_offset_ms=3_000, end_offset_ms=4_000, text="Hi."))
    third = Segment(id=2, start_offset_ms=5_000, end_offset_ms=6_000, speaker="SPEAKER_00", text="Bye.")
    return Transcript(
        text="Hello there. Hi. Bye.",
        language="en",
        segments=[first, second, third],
        speech_detected=True,
        audio_duration_ms=8_470,
    )


def test_verbose_has_every_key_of_the_clients_type() -> None:
    body = to_verbose(talk(), granularities=(SEGMENT, WORD))
    read = TranscriptionVerbose.model_validate(body, strict=True)
    assert (body["task"], read.language, read.duration, read.text) == ("transcribe", "english", 8.47, "Hello there. Hi. Bye.")
    assert all(set(segment) == SEGMENT_KEYS | {"language", "flags"} for segment in body["segments"])
    assert read.words is not None
    assert [(word.word, word.start, word.end) for word in read.words] == [("Hello", 0.5, 0.9), ("there.", 0.9, 2.25), ("Hi.", 3.0, 4.0)]
    assert body["usage"] == {"type": "duration", "seconds": 9}


def test_granularities_decide_what_verbose_lists() -> None:
    assert {"segments", "words"} & set(to_verbose(talk())) == {"segments"}
    assert {"segments", "words"} & set(to_verbose(talk(), granularities=(WORD,))) == {"words"}


def test_segments_say_what_the_model_said_and_compute_the_rest() -> None:
    first, second, third = to_verbose(talk())["segments"]
    assert (second["avg_logprob"], second["no_speech_prob"], second["compression_ratio"], second["temperature"]) == (-0.25, 0.125, 1.5, 0.2)
    assert first["avg_logprob"] == pytest.approx(math.log(0.5) / 2, abs=1e-6)
    assert first["compression_ratio"] == pytest.approx(12 / len(zlib.compress(b"Hello there.")), abs=1e-6)
    assert (third["avg_logprob"], third["no_speech_prob"], third["tokens"]) == (0.0, 0.0, [])
    assert (first["id"], first["seek"], first["start"], first["end"]) == (0, 50, 0.5, 2.25)


def test_joined_segments_read_like_the_text() -> None:
    transcript = talk()
    assert "".join(segment["text"] for segment in to_verbose(transcript)["segments"]).strip() == transcript.text


def test_repeated_text_has_the_compression_ratio_that_whisper_rejects() -> None:
    assert compression_ratio("you know " * 40) > 2.4
    assert compression_ratio("The quick brown fox jumps over the lazy dog.") < 1.2
    assert compression_ratio("") == 0


def test_a_translation_is_in_english() -> None:
    transcript = talk()
    transcript.language = "de"
    assert to_verbose(transcript)["language"] == "german"
    assert (to_verbose(transcript, task="translate")["language"], to_verbose(transcript, task="translate")["task"]) == (
        "english",
        "translate",
    )


def test_language_names_are_lower_case_english() -> None:
    assert len(LANGUAGE_NAMES) >= 100
    assert all(name == name.lower().strip() and name.replace(" ", "").isalpha() for name in LANGUAGE_NAMES.values())
    assert all(code.isalpha() and 2 <= len(code) <= 3 for code in LANGUAGE_NAMES)
    names = [english_name(code) for code in ("en", "DE", "zh", "yue", "ht", "br", "xx", "")]
    assert names == ["english", "german", "chinese", "cantonese", "haitian creole", "breton", "xx", ""]


@settings(max_examples=100, deadline=None)
@given(ANY_NUMBER, ANY_NUMBER, ANY_NUMBER, ANY_NUMBER, st.text(max_size=50))
def test_any_quality_makes_numbers_that_json_knows(logprob: float, ratio: float, silence: float, temperature: float, text: str) -> None:
    segment = Segment(text=text, avg_logprob=logprob, compression_ratio=ratio, no_speech_prob=silence, temperature=temperature)
    segment.words.add(text=text, probability=logprob)
    transcript = Transcript(segments=[segment], speech_detected=True)
    made = to_verbose(transcript)["segments"][0]
    assert all(math.isfinite(made[key]) for key in SEGMENT_KEYS - {"text", "tokens"})
    assert all(-24 < entry["logprob"] <= 0 for entry in to_logprobs(transcript))


def test_diarized_has_every_key_of_the_clients_type() -> None:
    body = to_diarized(talk(), ["Ann"])
    read = TranscriptionDiarized.model_validate(body, strict=True)
    assert (read.task, read.duration, read.text) == ("transcribe", 8.47, "Hello there. Hi. Bye.")
    assert [(part.id, part.start, part.end, part.text, part.speaker) for part in read.segments] == [
        ("seg_001", 0.5, 2.25, "Hello there.", "A"),
        ("seg_002", 3.0, 4.0, "Hi.", "Ann"),
        ("seg_003", 5.0, 6.0, "Bye.", "B"),
    ]
    assert {part["type"] for part in body["segments"]} == {"transcript.text.segment"}
    assert body["usage"] == {"type": "duration", "seconds": 9}


def test_labels_that_nobody_gave_become_letters() -> None:
    assert [part["speaker"] for part in diarized_segments(talk())] == ["A", "B", "C"]


def test_a_letter_that_is_a_known_name_is_nobody_elses() -> None:
    transcript = Transcript(segments=[Segment(text="x", speaker=label) for label in ("SPEAKER_00", "A", "SPEAKER_01")])
    assert speaker_names(transcript, ["A"]) == {"SPEAKER_00": "B", "A": "A", "SPEAKER_01": "C"}


def test_letters_do_not_run_out() -> None:
    transcript = Transcript(segments=[Segment(text="x", speaker=f"SPEAKER_{number:02d}") for number in range(28)])
    assert list(speaker_names(transcript).values())[-3:] == ["Z", "AA", "AB"]


def test_logprobs_are_of_words_and_join_to_the_text() -> None:
    made = to_logprobs(talk())
    assert [entry["token"] for entry in made] == ["Hello", " there."]
    assert [entry["logprob"] for entry in made] == [pytest.approx(math.log(0.5), abs=1e-6), 0.0]
    assert bytes(made[1]["bytes"]) == b" there."
    assert Transcription.model_validate({"text": "", "logprobs": made}, strict=False).logprobs


def test_usage_counts_started_seconds() -> None:
    assert [to_usage(Transcript(audio_duration_ms=ms))["seconds"] for ms in (0, 1, 1000, 1001)] == [0, 1, 1, 2]


def test_no_speech_makes_documents_without_segments() -> None:
    silent = Transcript(speech_detected=False, audio_duration_ms=2_000)
    verbose = TranscriptionVerbose.model_validate(to_verbose(silent, granularities=(SEGMENT, WORD)), strict=True)
    assert (verbose.text, verbose.segments, verbose.words, verbose.duration) == ("", [], [], 2.0)
    assert to_diarized(silent)["segments"] == to_logprobs(silent) == []
