"""Dialogue lines: who says what, a line a turn."""

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.formats.dialogue import to_dialogue
from steno.jobs.v1.transcript_pb2 import Segment, Transcript


def spoken(*parts: tuple[str, str]) -> Transcript:
    return Transcript(speech_detected=True, segments=[Segment(speaker=speaker, text=text) for speaker, text in parts])


def test_speakers_are_numbered_by_first_appearance() -> None:
    transcript = spoken(("SPEAKER_01", "Hello."), ("SPEAKER_01", "Anyone?"), ("Ann", "Hi there."), ("SPEAKER_01", "Ah."))
    assert to_dialogue(transcript) == "[Speaker 1]: Hello. Anyone?\n[Speaker 2]: Hi there.\n[Speaker 1]: Ah."


def test_speech_of_nobody_in_particular_is_one_speakers() -> None:
    assert to_dialogue(spoken(("", "One."), ("", "Two."))) == "[Speaker 1]: One. Two."


def test_silence_has_no_lines() -> None:
    assert to_dialogue(Transcript()) == ""


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.text(max_size=20)), max_size=6))
def test_no_text_can_fake_a_line(parts: list[tuple[str, str]]) -> None:
    lines = to_dialogue(spoken(*parts)).splitlines()
    assert all(line.startswith("[Speaker ") for line in lines)
    assert len(lines) <= len(parts)
