"""Every format, read back by readers that are not ours."""

import io
import json
from typing import Any

import docx
import pysubs2
import pytest
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.formats.clock import timestamp
from services.gateway.formats.cues import MAX_CUE_MS, MAX_LINE_CHARACTERS, MAX_LINES, cues
from services.gateway.formats.docx import NO_SPEECH, to_docx
from services.gateway.formats.escaping import for_srt, for_vtt, plain
from services.gateway.formats.json import document, to_json
from services.gateway.formats.srt import to_srt
from services.gateway.formats.txt import to_txt
from services.gateway.formats.vtt import to_vtt
from steno.jobs.v1.transcript_pb2 import Gap, Segment, Transcript, Word

HOSTILE = "a --> b <script>alert(1)</script> & {\\an8}x \x0b\x00\x1b[31m\u2028end\ufeff"
TEXTS = st.one_of(st.text(max_size=200), st.sampled_from([HOSTILE, "1", "00:00:01.000 --> 00:00:02.000", "NOTE x", "STYLE", "你" * 200]))
TIMES = st.integers(min_value=0, max_value=40_000_000)


def spoken(*segments: Segment) -> Transcript:
    return Transcript(speech_detected=True, segments=segments, text=" ".join(segment.text for segment in segments))


def said(text: str, start: int, end: int, speaker: str = "", *, words: bool = True) -> Segment:
    segment = Segment(text=text, start_offset_ms=start, end_offset_ms=end, speaker=speaker)
    parts = text.split() if words else []
    for number, part in enumerate(parts):
        step = (end - start) // len(parts)
        segment.words.add(text=part, start_offset_ms=start + step * number, end_offset_ms=start + step * (number + 1))
    if parts:
        segment.words[-1].end_offset_ms = end
    return segment


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    segments = []
    for _ in range(draw(st.integers(0, 4))):
        start = draw(TIMES)
        end = start + draw(st.integers(-5, 60_000))
        speaker = draw(st.sampled_from(["", "SPEAKER_00", "SPEAKER_01", HOSTILE]))
        segments.append(said(draw(TEXTS), start, end, speaker, words=draw(st.booleans())))
    return spoken(*segments)


@settings(max_examples=150, deadline=None)
@given(transcripts())
def test_any_text_makes_valid_srt(transcript: Transcript) -> None:
    expected = cues(transcript, labels=True)
    read = pysubs2.SSAFile.from_string(to_srt(transcript), format_="srt")
    assert [(event.start, event.end) for event in read] == [(cue.start_ms, cue.end_ms) for cue in expected]


@settings(max_examples=150, deadline=None)
@given(transcripts())
def test_any_text_makes_valid_vtt(transcript: Transcript) -> None:
    expected = cues(transcript)
    read = webvtt.from_buffer(io.StringIO(to_vtt(transcript)))
    assert [(caption.start, caption.end) for caption in read.captions] == [
        (timestamp(cue.start_ms, "."), timestamp(cue.end_ms, ".")) for cue in expected
    ]
    again = pysubs2.SSAFile.from_string(to_vtt(transcript), format_="vtt")
    assert len(again) == len(expected)


@settings(max_examples=150, deadline=None)
@given(transcripts())
def test_any_text_makes_cues_within_the_limits(transcript: Transcript) -> None:
    for labels in (False, True):
        made = cues(transcript, labels=labels)
        assert [cue.start_ms for cue in made] == sorted(cue.start_ms for cue in made)
        for cue in made:
            assert 0 < cue.end_ms - cue.start_ms <= MAX_CUE_MS
            assert 1 <= len(cue.lines) <= MAX_LINES
            assert all(0 < len(line) <= MAX_LINE_CHARACTERS for line in cue.lines)


@settings(max_examples=100, deadline=None)
@given(transcripts())
def test_cues_lose_no_text(transcript: Transcript) -> None:
    joined = "".join("".join(cue.lines) for cue in cues(transcript))
    wanted = "".join(plain(segment.text) for segment in transcript.segments)
    assert sorted(joined.replace(" ", "")) == sorted(wanted.replace(" ", ""))


@settings(max_examples=40, deadline=None)
@given(transcripts())
def test_any_text_makes_a_valid_docx(transcript: Transcript) -> None:
    read = docx.Document(io.BytesIO(to_docx(transcript, HOSTILE)))
    assert read.paragraphs[0].text == plain(HOSTILE)
    assert len(read.paragraphs) >= 2


@settings(max_examples=150, deadline=None)
@given(transcripts())
def test_any_text_makes_valid_json_and_txt(transcript: Transcript) -> None:
    assert json.loads(to_json(transcript))["text"] == transcript.text
    assert not any(character in to_txt(transcript) for character in "\x00\x0b\x1b\r")


def test_vtt_names_the_voice_and_escapes_markup() -> None:
    vtt = to_vtt(spoken(said("x < y & z --> w", 0, 2000, "SPEAKER_00")))
    assert "<v SPEAKER_00>x &lt; y &amp; z --&gt; w" in vtt
    assert vtt.count("-->") == 1


def test_srt_labels_the_speaker_and_neutralises_markup() -> None:
    srt = to_srt(spoken(said("<b>x</b> --> {\\an8}y", 0, 2000, "SPEAKER_00")))
    assert srt == "1\n00:00:00,000 --> 00:00:02,000\nSPEAKER_00: ‹b›x‹/b› → (\\an8)y\n\n"


def test_long_speech_is_split_at_word_times() -> None:
    text = " ".join(f"word{number:02d}" for number in range(40))
    made = cues(spoken(said(text, 0, 40_000)))
    assert len(made) > 5
    assert made[0].start_ms == 0
    assert made[1].start_ms == made[0].end_ms
    assert all(cue.start_ms % 1000 == 0 for cue in made)
    assert " ".join(" ".join(cue.lines) for cue in made) == text


def test_spoken_times_are_no_cues_to_lenient_readers() -> None:
    transcript = spoken(said("00:00:01.000 --> 00:00:02.000 at 10:30", 0, 2000))
    assert len(pysubs2.SSAFile.from_string(to_srt(transcript), format_="srt")) == len(cues(transcript, labels=True))
    assert "from 10:30 to 11:30" in to_srt(spoken(said("from 10:30 to 11:30", 0, 2000)))


def test_pause_within_a_segment_parts_its_cues() -> None:
    segment = Segment(text="yes no", start_offset_ms=0, end_offset_ms=6000)
    segment.words.add(text="yes", start_offset_ms=0, end_offset_ms=400)
    segment.words.add(text="no", start_offset_ms=5000, end_offset_ms=5400)
    assert [(cue.start_ms, cue.end_ms) for cue in cues(spoken(segment))] == [(0, 400), (5000, 5400)]


def test_txt_joins_what_one_speaker_says() -> None:
    transcript = spoken(said("One.", 0, 1, "SPEAKER_00"), said("Two.", 1, 2, "SPEAKER_00"), said("Three.", 2, 3, "SPEAKER_01"))
    assert to_txt(transcript) == "SPEAKER_00: One. Two.\n\nSPEAKER_01: Three.\n"
    assert to_txt(spoken(said("One.", 0, 1), said("Two.", 1, 2))) == "One. Two.\n"


def test_docx_shows_speaker_time_and_text() -> None:
    read = docx.Document(io.BytesIO(to_docx(spoken(said("Hello there.", 3_661_000, 3_662_000, "SPEAKER_00")), "talk.wav")))
    assert [paragraph.text for paragraph in read.paragraphs] == ["talk.wav", "SPEAKER_00  01:01:01\nHello there."]
    assert read.core_properties.title == "talk.wav"


def test_no_speech_is_said_in_every_format() -> None:
    silent = Transcript(speech_detected=False, speech_ratio=0.02)
    body = document(silent)
    assert body.pop("suggestion")
    assert body == {"text": "", "language": None, "segments": [], "speech_detected": False, "speech_ratio": 0.02}
    assert (to_txt(silent), to_srt(silent), to_vtt(silent)) == ("", "", "WEBVTT\n\n")
    assert docx.Document(io.BytesIO(to_docx(silent, "a"))).paragraphs[1].text == NO_SPEECH


def test_json_has_the_contracts_fields_and_leaves_out_unknown_quality() -> None:
    segment = Segment(id=3, start_offset_ms=0, end_offset_ms=16_300, speaker="SPEAKER_00", text="Hi", avg_logprob=float("-inf"))
    segment.words.append(Word(start_offset_ms=0, end_offset_ms=400, text="Hi", probability=0.9))
    transcript = Transcript(
        speech_detected=True, language="en", text="Hi", segments=[segment], gaps=[Gap(start_offset_ms=1, end_offset_ms=2, reason="R")]
    )
    body = document(transcript)
    made: dict[str, Any] = body["segments"][0]
    assert (made["start"], made["end"], made["speaker"], made["avg_logprob"]) == (0.0, 16.3, "SPEAKER_00", None)
    assert made["words"] == [{"start": 0.0, "end": 0.4, "text": "Hi", "probability": 0.9}]
    assert "temperature" not in made
    assert body["gaps"] == [{"start": 0.001, "end": 0.002, "reason": "R"}]


@pytest.mark.parametrize(
    ("offset_ms", "text"), [(0, "00:00:00,000"), (3_599_999, "00:59:59,999"), (360_000_000, "100:00:00,000"), (-5, "00:00:00,000")]
)
def test_timestamps(offset_ms: int, text: str) -> None:
    assert timestamp(offset_ms, ",") == text


def test_escaping_keeps_plain_text() -> None:
    for escape in (plain, for_srt, for_vtt):
        assert escape("Größe, 日本語; it's 5 o'clock!") == "Größe, 日本語; it's 5 o'clock!"
