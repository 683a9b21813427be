"""Tries of one window at rising temperatures, together with the other windows that need them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from services.inference.models.whisper.beams import BeamDecoder
from services.inference.models.whisper.decoding import Decoded, Decoder, DecodingRequest, never
from services.inference.models.whisper.graphs import Tensors
from services.inference.models.whisper.prompts import Prompt
from services.inference.models.whisper.quality import Thresholds
from services.inference.models.whisper.temperatures import FINAL, next_temperature, rank
from services.inference.models.whisper.vocabulary import Vocabulary
from services.inference.transcript import Verdict


@dataclass(frozen=True, slots=True)
class Try:
    """What one temperature gave."""

    temperature: float
    decoded: Decoded
    text: str
    verdict: Verdict

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """Greater is better."""
        return rank(self.verdict, self.decoded.average_log_probability)


@dataclass(frozen=True, slots=True)
class Climb:
    """What one window starts from."""

    prompt: Prompt
    most_tokens: int
    temperature: float
    seed: int
    cancelled: Callable[[], bool] = never


class Ladder:
    """One model's decoder and what it takes to believe it. beams: the search at temperature 0, None to be greedy."""

    def __init__(self, decoder: Decoder, vocabulary: Vocabulary, thresholds: Thresholds, beams: BeamDecoder | None = None) -> None:
        self._decoder = decoder
        self._beams = beams
        self._vocabulary = vocabulary
        self._thresholds = thresholds

    def climb(self, crossed: Tensors, climbs: Sequence[Climb]) -> list[Try]:
        """The first try of each window that can be believed, else its best."""
        best: dict[int, Try] = {}
        waiting: dict[int, float] = {row: climb.temperature for row, climb in enumerate(climbs)}
        while waiting:
            rows = list(waiting)
            for row, found in zip(rows, self._tries(crossed, climbs, waiting), strict=True):
                best[row] = max(best.get(row, found), found, key=lambda one: one.rank)
                higher = next_temperature(waiting.pop(row))
                if found.verdict not in FINAL and higher is not None:
                    waiting[row] = higher
        return [best[row] for row in range(len(climbs))]

    def step(self, crossed: Tensors, climbs: Sequence[Climb]) -> list[Try]:
        """The first try of each window, whatever it is worth."""
        return self._tries(crossed, climbs, {row: climb.temperature for row, climb in enumerate(climbs)})

    def _tries(self, crossed: Tensors, climbs: Sequence[Climb], temperatures: Mapping[int, float]) -> list[Try]:
        searched = [row for row, temperature in temperatures.items() if self._beams and temperature <= 0]
        sampled = [row for row in temperatures if row not in searched]
        found: dict[int, Try] = {}
        for decoder, rows in ((self._beams, searched), (self._decoder, sampled)):
            if not rows or decoder is None:
                continue
            requests = [_request(climbs[row], temperatures[row]) for row in rows]
            heard = crossed if rows == list(range(len(climbs))) else self._decoder.graphs.select(crossed, rows)
            for row, decoded in zip(rows, decoder.decode(heard, requests), strict=True):
                found[row] = self._judged(decoded, temperatures[row])
        return [found[row] for row in temperatures]

    def _judged(self, decoded: Decoded, temperature: float) -> Try:
        text = self._vocabulary.decode(decoded.tokens).strip()
        return Try(temperature, decoded, text, self._thresholds.judge(decoded, text))


def _request(climb: Climb, temperature: float) -> DecodingRequest:
    return DecodingRequest(climb.prompt, climb.most_tokens, temperature, climb.seed, climb.cancelled)
