"""Every word keeps its place and gets the right speaker."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.inference.alignment import assign_speakers, build_segments
from services.inference.transcript import Turn, Word


def spoken(*texts: str, start_ms: int = 0, pause_ms: int = 50) -> list[Word]:
    return [Word(text, start_ms + at * 300, start_ms + at * 300 + 300 - pause_ms) for at, text in enumerate(texts)]


def speakers(words: list[Word]) -> list[int | None]:
    return [word.speaker for word in words]


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[Word], list[Turn]]:
    words, at = [], 0
    for gap, length in draw(st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 1_500)), max_size=60)):
        words.append(Word(draw(st.sampled_from(["so", "yes.", "why?"])), at + gap, at + gap + length))
        at += gap + length
    starts = draw(st.lists(st.tuples(st.integers(0, 40_000), st.integers(1, 9_000), st.integers(0, 3)), max_size=20))
    return words, [Turn(start, start + length, who) for start, length, who in sorted(starts)]


@given(conversations())
def test_no_word_is_lost_moved_or_left_without_a_speaker(talk: tuple[list[Word], list[Turn]]) -> None:
    words, turns = talk
    aligned = assign_speakers(words, turns)
    assert [(w.text, w.start_ms, w.end_ms) for w in aligned] == [(w.text, w.start_ms, w.end_ms) for w in words]
    assert all((word.speaker in {turn.speaker for turn in turns}) if turns else word.speaker is None for word in aligned)


@given(conversations())
def test_segments_hold_every_word_once_of_one_speaker_each(talk: tuple[list[Word], list[Turn]]) -> None:
    aligned = assign_speakers(*talk)
    segments = build_segments(aligned)
    assert [word for segment in segments for word in segment.words] == aligned
    for segment in segments:
        assert {word.speaker for word in segment.words} == {segment.speaker}
        assert len(segment.words) == 1 or segment.end_ms - segment.start_ms <= 30_000
        assert all(two.start_ms - one.end_ms <= 800 for one, two in pairwise(segment.words))


def test_a_word_goes_to_who_speaks_most_of_it() -> None:
    words = [Word("well", 0, 400), Word("no.", 400, 900), Word("yes", 900, 1_400)]
    assert speakers(assign_speakers(words, [Turn(0, 1_000, 0), Turn(1_000, 2_000, 1)])) == [0, 0, 1]


def test_a_word_outside_every_turn_goes_to_the_nearest() -> None:
    turns = [Turn(0, 1_000, 0), Turn(5_000, 6_000, 1)]
    assert speakers(assign_speakers([Word("early", 1_500, 1_800), Word("late", 4_500, 4_800)], turns)) == [0, 1]


def test_a_stray_word_follows_its_sentence() -> None:
    words = spoken("we", "will", "meet", "again", "next", "week.")
    assert speakers(assign_speakers(words, [Turn(0, 350, 1), Turn(350, 3_000, 0)])) == [0] * 6


def test_a_change_of_speaker_at_a_full_stop_stays() -> None:
    words = spoken("are", "you", "sure?", "yes", "I", "am.")
    assert speakers(assign_speakers(words, [Turn(0, 900, 0), Turn(900, 2_000, 1)])) == [0, 0, 0, 1, 1, 1]


def test_overlap_is_marked_and_kept() -> None:
    aligned = assign_speakers(spoken("I", "think", "so"), [Turn(0, 1_000, 0), Turn(280, 580, 1)])
    assert [word.overlap for word in aligned] == [False, True, False]
    assert [segment.overlap for segment in build_segments(aligned)] == [True]


def test_two_turns_that_meet_inside_a_word_are_no_overlap() -> None:
    (word,) = assign_speakers([Word("and", 0, 400)], [Turn(0, 200, 0), Turn(200, 900, 1)])
    assert not word.overlap


def test_a_pause_parts_segments() -> None:
    words = [*spoken("one", "two"), *spoken("three", start_ms=2_000)]
    assert [segment.text for segment in build_segments(words)] == ["one two", "three"]
