"""How sure the model was of each word, in the form of OpenAI's token log probabilities."""

import math
from typing import Any

from services.gateway.formats.escaping import plain
from steno.jobs.v1.transcript_pb2 import Segment, Transcript

LOWEST_PROBABILITY = 1e-10


def to_logprobs(transcript: Transcript) -> list[dict[str, Any]]:
    """One entry per word that has a probability; every token but the first brings the space before it."""
    scored = [word for segment in transcript.segments for word in segment.words if word.HasField("probability")]
    tokens = [(" " if number else "") + plain(word.text) for number, word in enumerate(scored)]
    return [
        {"token": token, "bytes": list(token.encode()), "logprob": round(log_probability(word.probability), 6)}
        for token, word in zip(tokens, scored, strict=True)
    ]


def mean_logprob(segment: Segment) -> float | None:
    """The mean over the segment's words; None where no word has a probability."""
    known = [log_probability(word.probability) for word in segment.words if word.HasField("probability")]
    return sum(known) / len(known) if known else None


def log_probability(probability: float) -> float:
    """Natural logarithm, kept finite."""
    return math.log(min(1.0, max(LOWEST_PROBABILITY, probability))) if probability == probability else math.log(LOWEST_PROBABILITY)
