"""The rows of a batch between two steps: their past, padded at the left to one length."""

from collections.abc import Sequence

import numpy as np

from services.inference.models.whisper.graphs import FORBIDDEN, Graphs, Integers, Step, Tensors
from services.inference.pcm import Floats


class Rows:
    """Prompts of different lengths end together, so that every row's next token has the same place."""

    def __init__(self, graphs: Graphs, crossed: Tensors, prompts: Sequence[Sequence[int]]) -> None:
        self._graphs = graphs
        self._crossed = crossed
        self._prompts = prompts
        self._length = max(len(prompt) for prompt in prompts)
        self._padding = np.array([self._length - len(prompt) for prompt in prompts], np.int64)
        self._past: Tensors = graphs.no_past(len(prompts))

    def __len__(self) -> int:
        return len(self._padding)

    def start(self, reads: Integers) -> Floats:
        """Logits (rows, reads, vocabulary). reads: (rows, reads), places in each row's prompt."""
        tokens = np.zeros((len(self), self._length), np.int64)
        for row, prompt in zip(tokens, self._prompts, strict=True):
            row[self._length - len(prompt) :] = prompt
        places = np.arange(self._length)
        later = np.where(places[None, :] > places[:, None], np.float32(FORBIDDEN), np.float32(0))
        positions = np.maximum(0, places[None, :] - self._padding[:, None])
        step = Step(tokens, positions, np.minimum(self._bias(), later), reads + self._padding[:, None])
        return self._decode(step)

    def step(self, tokens: Integers) -> Floats:
        """Logits (rows, vocabulary) after one token more in each row."""
        self._length += 1
        positions = (self._length - 1 - self._padding)[:, None]
        return self._decode(Step(tokens[:, None], positions, self._bias(), np.zeros((len(self), 1), np.int64)))[:, 0]

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows, in this order; one may go on twice."""
        self._past = self._graphs.select(self._past, rows)
        self._crossed = self._graphs.select(self._crossed, rows)
        self._padding = self._padding[list(rows)]

    def reorder(self, rows: Sequence[int]) -> None:
        """Let each row go on from another's past; both hear the same window."""
        self._past = self._graphs.select(self._past, rows)
        self._padding = self._padding[list(rows)]

    def _bias(self) -> Floats:
        padded = np.arange(self._length)[None, :] < self._padding[:, None]
        return np.where(padded, np.float32(FORBIDDEN), np.float32(0))[:, None, None, :]

    def _decode(self, step: Step) -> Floats:
        logits, self._past = self._graphs.decode(step, self._past, self._crossed)
        return logits
