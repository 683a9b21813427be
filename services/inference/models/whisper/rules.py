"""Which tokens may come next. Source: Radford et al. 2022, and the `decoding.py` published with it."""

from collections.abc import Sequence

import numpy as np

from services.inference.models.whisper.vocabulary import GenerationConfig, SpecialTokens
from services.inference.pcm import Floats


class TokenRules:
    """Rules of one model; they forbid tokens by setting their logit to -inf."""

    def __init__(self, special: SpecialTokens, config: GenerationConfig) -> None:
        self._special = special
        self._suppressed = np.array(config.suppressed, np.int64)
        self._suppressed_at_start = np.array(config.suppressed_at_start, np.int64)
        self._max_initial = config.max_initial_timestamp

    def apply(self, logits: Floats, said: Sequence[Sequence[int]], timestamps: Sequence[bool]) -> None:
        """Change (rows, vocabulary) logits in place. said: tokens after each row's prompt."""
        logits[:, self._suppressed] = -np.inf
        for row, tokens, timed in zip(logits, said, timestamps, strict=True):
            if not tokens:
                row[self._suppressed_at_start] = -np.inf
            if timed:
                self._apply_timestamps(row, tokens)

    def _apply_timestamps(self, row: Floats, said: Sequence[int]) -> None:
        first = self._special.first_timestamp
        row[self._special.no_timestamps] = -np.inf
        self._forbid_unpaired(row, said)
        if not said:
            row[:first] = -np.inf
            if self._max_initial is not None:
                row[first + self._max_initial + 1 :] = -np.inf
        # A time is due when times together are likelier than any one piece of text.
        if _log_sum(row[first:]) > row[:first].max():
            row[:first] = -np.inf

    def _forbid_unpaired(self, row: Floats, said: Sequence[int]) -> None:
        """Times come in pairs, except before the end, and never go back."""
        first = self._special.first_timestamp
        closes = bool(said) and said[-1] >= first
        paired = len(said) < 2 or said[-2] >= first
        if closes and paired:
            row[first:] = -np.inf
        elif closes:
            row[: self._special.end] = -np.inf
        last = max((token for token in said if token >= first), default=None)
        if last is not None:
            row[first : last + (0 if closes and not paired else 1)] = -np.inf


def _log_sum(values: Floats) -> float:
    highest = float(values.max())
    if highest == -np.inf:
        return highest
    return highest + float(np.log(np.exp(values - highest).sum()))
