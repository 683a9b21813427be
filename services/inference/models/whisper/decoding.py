"""Decoding of many windows at once: greedy, or sampled where a temperature asks for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from services.inference.models.whisper.graphs import Graphs, Tensors
from services.inference.models.whisper.prompts import Prompt
from services.inference.models.whisper.rows import Rows
from services.inference.models.whisper.rules import TokenRules
from services.inference.models.whisper.vocabulary import SpecialTokens
from services.inference.pcm import Floats


def never() -> bool:
    """For those who wait to the end."""
    return False


@dataclass(frozen=True, slots=True)
class DecodingRequest:
    """One window's. most_tokens: after the prompt. temperature: 0 for the likeliest. seed: of the sampling.

    cancelled: asked before every step; a row that nobody waits for any more leaves the batch.
    """

    prompt: Prompt
    most_tokens: int
    temperature: float = 0.0
    seed: int = 0
    cancelled: Callable[[], bool] = never


@dataclass(slots=True)
class Decoded:
    """What was said, without the end token; the start of it where it was cancelled.

    log_probabilities: of each token, and of the end where it came.
    """

    tokens: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)
    no_speech_probability: float = 0.0
    ended: bool = False
    cancelled: bool = False

    @property
    def average_log_probability(self) -> float:
        """Per token, the end counting as one."""
        return sum(self.log_probabilities) / (len(self.tokens) + 1)


class Decoder:
    """One model's graphs and rules. Rows of a batch do not affect each other, whatever their prompts."""

    def __init__(self, graphs: Graphs, rules: TokenRules, special: SpecialTokens) -> None:
        self.graphs = graphs
        self.rules = rules
        self.special = special

    def language_probabilities(self, crossed: Tensors, rows: int) -> Floats:
        """(rows, languages) in the order of the model's tokens."""
        batch = Rows(self.graphs, crossed, [(self.special.start,)] * rows)
        logits = batch.start(np.zeros((rows, 1), np.int64))[:, 0]
        return softmax(logits[:, list(self.special.languages.values())])

    def decode(self, crossed: Tensors, requests: Sequence[DecodingRequest]) -> list[Decoded]:
        """One result per request. crossed: what the encoder made of their windows, in the same order."""
        batch = Rows(self.graphs, crossed, [request.prompt.tokens for request in requests])
        talks = [Talk(request, self.special.end) for request in requests]
        logits = self.first_logits(batch, talks)
        members = talks
        while True:
            self._listen(logits, members)
            for talk in members:
                talk.notice()
            going = [row for row, talk in enumerate(members) if not talk.finished]
            if not going:
                return [talk.decoded for talk in talks]
            # Taking rows out copies the others: worth it when half of them are idle.
            if 2 * len(going) <= len(members):
                batch.keep(going)
                members = [members[row] for row in going]
            logits = batch.step(np.array([talk.last for talk in members], np.int64))

    def first_logits(self, batch: Rows, talks: Sequence["Talk"]) -> Floats:
        """(rows, vocabulary) after the prompts; notes how likely each window is to be no speech."""
        prompts = [talk.request.prompt for talk in talks]
        logits = batch.start(np.array([(prompt.start, len(prompt.tokens) - 1) for prompt in prompts], np.int64))
        for talk, probabilities in zip(talks, softmax(logits[:, 0]), strict=True):
            talk.decoded.no_speech_probability = float(probabilities[self.special.no_speech])
        return logits[:, 1]

    def _listen(self, logits: Floats, members: Sequence["Talk"]) -> None:
        going = [row for row, talk in enumerate(members) if not talk.finished]
        talks = [members[row] for row in going]
        allowed = logits[going]
        self.rules.apply(allowed, [talk.decoded.tokens for talk in talks], [talk.request.prompt.timestamps for talk in talks])
        for talk, row in zip(talks, allowed, strict=True):
            talk.hear(row)


class Talk:
    """A request on its way to its result."""

    def __init__(self, request: DecodingRequest, end: int) -> None:
        self.request = request
        self.decoded = Decoded()
        self._end = end
        self._generator = np.random.default_rng(request.seed)

    @property
    def finished(self) -> bool:
        """Whether the end came, or as many tokens as may come, or nobody waits."""
        return self.decoded.ended or self.decoded.cancelled or len(self.decoded.tokens) >= self.request.most_tokens

    @property
    def last(self) -> int:
        """What the model hears next; a finished row in a batch goes on with its end."""
        return self._end if self.finished else self.decoded.tokens[-1]

    def notice(self) -> None:
        """See whether somebody still waits."""
        if not self.finished and self.request.cancelled():
            self.decoded.cancelled = True

    def hear(self, logits: Floats) -> None:
        """Take the next token from (vocabulary,) logits."""
        token = self._pick(logits)
        highest = float(logits.max())
        self.decoded.log_probabilities.append(float(logits[token]) - highest - float(np.log(np.exp(logits - highest).sum())))
        if token == self._end:
            self.decoded.ended = True
        else:
            self.decoded.tokens.append(token)

    def _pick(self, logits: Floats) -> int:
        if self.request.temperature <= 0:
            return int(logits.argmax())
        weights = softmax(logits[None] / np.float32(self.request.temperature))[0].astype(np.float64).cumsum()
        return int(np.searchsorted(weights, self._generator.random() * weights[-1], side="right"))


def softmax(logits: Floats) -> Floats:
    """Over the last axis of (rows, choices)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
