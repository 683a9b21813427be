"""The sentences that say most, found by counting words.

Each sentence is a vector of tf-idf weights; the best is most like the middle of all, and every next one must not repeat those before.
Sources: Radev et al. 2004 (centroid-based summarization), Carbonell and Goldstein 1998 (maximal marginal relevance).
"""

import asyncio
import math
from collections import Counter
from collections.abc import Mapping, Sequence

from services.gateway.summaries.sentences import sentences, terms, written_out
from services.gateway.summaries.summarizer import Summary
from steno.jobs.v1.transcript_pb2 import Transcript

Vector = Mapping[str, float]

FEWEST_SENTENCES = 3
MOST_SENTENCES = 5
_SENTENCES_PER_MORE = 15
_FULL_LENGTH_TERMS = 8
_REPETITION_COST = 0.3


class ExtractiveSummarizer:
    """Counts words in a thread; `at_once` transcripts at a time, as each takes a processor."""

    def __init__(self, at_once: int = 1) -> None:
        self._slots = asyncio.Semaphore(at_once)

    async def summarize(self, transcript: Transcript) -> Summary:
        """Three to five of the transcript's own sentences, in their order."""
        async with self._slots:
            return Summary(await asyncio.to_thread(extract, transcript))


def extract(transcript: Transcript) -> str:
    """The summary; the whole text where that is short, empty without speech. The same for the same transcript."""
    said = sentences(transcript)
    wanted = min(MOST_SENTENCES, FEWEST_SENTENCES + len(said) // _SENTENCES_PER_MORE)
    return " ".join(written_out(said[number]) for number in sorted(choose(said, wanted)))


def choose(said: Sequence[str], wanted: int) -> list[int]:
    """Numbers of the sentences that say most, best first."""
    if len(said) <= wanted:
        return list(range(len(said)))
    vectors = _vectors(said)
    worth = _worth(said, vectors)
    chosen: list[int] = []
    repeats = [0.0] * len(said)
    while len(chosen) < wanted:
        best = max((number for number in range(len(said)) if number not in chosen), key=lambda number: worth[number] - repeats[number])
        chosen.append(best)
        for number, vector in enumerate(vectors):
            repeats[number] = max(repeats[number], _REPETITION_COST * _dot(vector, vectors[best]))
    return chosen


def weightiest(said: Sequence[str], wanted: int) -> list[int]:
    """Numbers of the sentences that say most, whether or not they repeat each other: many of them in one go."""
    worth = _worth(said, _vectors(said))
    return sorted(range(len(said)), key=lambda number: -worth[number])[:wanted]


def _vectors(said: Sequence[str]) -> list[Vector]:
    """Weights of length 1; a word of every sentence weighs nothing."""
    counts = [Counter(terms(sentence)) for sentence in said]
    spread = Counter(term for count in counts for term in count)
    rarity = {term: math.log(len(said) / found) for term, found in spread.items()}
    return [_unit({term: (1 + math.log(times)) * rarity[term] for term, times in count.items()}) for count in counts]


def _worth(said: Sequence[str], vectors: Sequence[Vector]) -> list[float]:
    """How like the middle of all each is; what is too short to say much counts less."""
    middle: Counter[str] = Counter()
    for vector in vectors:
        middle.update(vector)
    centre = _unit(middle)
    lengths = [sum(1 for _ in terms(sentence)) for sentence in said]
    return [_dot(vector, centre) * min(1.0, length / _FULL_LENGTH_TERMS) for vector, length in zip(vectors, lengths, strict=True)]


def _unit(vector: Vector) -> Vector:
    length = math.sqrt(sum(weight * weight for weight in vector.values()))
    return {term: weight / length for term, weight in vector.items()} if length else {}


def _dot(one: Vector, other: Vector) -> float:
    small, large = sorted((one, other), key=len)
    return sum(weight * large.get(term, 0.0) for term, weight in small.items())
