"""Words to speakers, and speakers' words to segments."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from services.inference.transcript import Segment, Turn, Word

SENTENCE_END = re.compile(r"[.?!…][\"'”’)\]]*$")
SENTENCE_PAUSE_MS = 350
SEGMENT_PAUSE_MS = 800
LONGEST_SEGMENT_MS = 30_000
STRAY_WORDS = 2
STRAY_SHARE = 1 / 3
OVERLAP_SHARE = 0.5


def assign_speakers(words: Sequence[Word], turns: Sequence[Turn]) -> list[Word]:
    """The same words, each with the speaker whose turns cover most of it.

    words: in file time and in order. turns: by start; turns of different speakers may overlap. A word outside every
    turn goes to the nearest one. A word that a second speaker covers by half or more is marked, never dropped. Strays
    inside a sentence then follow their sentence.
    """
    if not turns:
        return list(words)
    longest_ms = max(turn.end_ms - turn.start_ms for turn in turns)
    starts = [turn.start_ms for turn in turns]
    spoken = [_spoken(word, turns, starts, longest_ms) for word in words]
    return [word for sentence in sentences(spoken) for word in settle_strays(sentence)]


def _spoken(word: Word, turns: Sequence[Turn], starts: Sequence[int], longest_ms: int) -> Word:
    first = bisect_left(starts, word.start_ms - longest_ms)
    last = bisect_left(starts, word.end_ms)
    covered: dict[int, int] = {}
    for turn in turns[first:last]:
        shared_ms = min(word.end_ms, turn.end_ms) - max(word.start_ms, turn.start_ms)
        if shared_ms > 0:
            covered[turn.speaker] = covered.get(turn.speaker, 0) + shared_ms
    if not covered:
        return replace(word, speaker=_nearest(word, turns[max(0, first - 1) : last + 1]).speaker)
    ranked = sorted(covered, key=lambda speaker: (-covered[speaker], speaker))
    enough_ms = OVERLAP_SHARE * (word.end_ms - word.start_ms)
    overlap = len(ranked) > 1 and covered[ranked[1]] >= enough_ms and _together(word, turns[first:last])
    return replace(word, speaker=ranked[0], overlap=word.overlap or overlap)


def _together(word: Word, turns: Sequence[Turn]) -> bool:
    """Whether two speakers talk at once during the word, and not one after the other."""
    inside = [turn for turn in turns if turn.end_ms > word.start_ms]
    return any(
        one.speaker != other.speaker and min(one.end_ms, other.end_ms, word.end_ms) > max(one.start_ms, other.start_ms, word.start_ms)
        for position, one in enumerate(inside)
        for other in inside[position + 1 :]
    )


def _nearest(word: Word, turns: Sequence[Turn]) -> Turn:
    return min(turns, key=lambda turn: (max(turn.start_ms - word.end_ms, word.start_ms - turn.end_ms), turn.start_ms))


def sentences(words: Sequence[Word], pause_ms: int = SENTENCE_PAUSE_MS) -> Iterator[list[Word]]:
    """Runs of words up to a full stop or a pause."""
    sentence: list[Word] = []
    for word in words:
        if sentence and (SENTENCE_END.search(sentence[-1].text) or word.start_ms - sentence[-1].end_ms > pause_ms):
            yield sentence
            sentence = []
        sentence.append(word)
    if sentence:
        yield sentence


def settle_strays(sentence: Sequence[Word]) -> list[Word]:
    """Give one or two words to the speaker of the rest of their sentence.

    Turn edges are off by some tenths of a second, and people change at sentence ends. A run that is longer or more
    than a third of the sentence stays, and so does one marked as overlap: it is an interjection.
    """
    runs = [list(run) for _, run in groupby(sentence, key=lambda word: word.speaker)]
    most = min(STRAY_WORDS, int(len(sentence) * STRAY_SHARE))
    return [
        word if speaker == word.speaker else replace(word, speaker=speaker)
        for position, run in enumerate(runs)
        for speaker in [_settled_speaker(runs, position, most)]
        for word in run
    ]


def _settled_speaker(runs: Sequence[Sequence[Word]], position: int, most: int) -> int | None:
    run = runs[position]
    neighbours = [runs[beside] for beside in (position - 1, position + 1) if 0 <= beside < len(runs)]
    if not neighbours or len(run) > most or any(word.overlap for word in run):
        return run[0].speaker
    return max(neighbours, key=len)[0].speaker


def build_segments(words: Sequence[Word]) -> list[Segment]:
    """Segments that hold every word once: cut at a change of speaker, a pause over 0.8 s, and before 30 s."""
    segments: list[list[Word]] = []
    for word in words:
        if not segments or _starts_segment(word, segments[-1]):
            segments.append([])
        segments[-1].append(word)
    return [_segment(members) for members in segments]


def _starts_segment(word: Word, members: Sequence[Word]) -> bool:
    return (
        word.speaker != members[-1].speaker
        or word.start_ms - members[-1].end_ms > SEGMENT_PAUSE_MS
        or word.end_ms - members[0].start_ms > LONGEST_SEGMENT_MS
    )


def _segment(members: Sequence[Word]) -> Segment:
    return Segment(
        start_ms=members[0].start_ms,
        end_ms=max(word.end_ms for word in members),
        text=" ".join(word.text for word in members),
        words=tuple(members),
        speaker=members[0].speaker,
    )
