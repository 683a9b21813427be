"""Word times of a batch: one pass over what was decoded, and its attention."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp

import numpy as np

from services.inference.models.whisper.decoding import Decoded
from services.inference.models.whisper.graphs import FORBIDDEN, Graphs, Step, Tensors
from services.inference.models.whisper.prompts import Task, start_sequence
from services.inference.models.whisper.vocabulary import TIMESTAMP_MS, Vocabulary
from services.inference.models.whisper.warping import token_frames
from services.inference.models.whisper.words import SpokenToken, build_words
from services.inference.pcm import Floats
from services.inference.transcript import Word


@dataclass(frozen=True, slots=True)
class Utterance:
    """What is to be placed in time. task: without times, whatever it was decoded with; sound_ms: where the first sound starts and
    the last one ends, if known.
    """

    task: Task
    decoded: Decoded
    duration_ms: int
    sound_ms: tuple[int, int] | None = None


class WordTimer:
    """One model's graphs."""

    def __init__(self, graphs: Graphs, vocabulary: Vocabulary) -> None:
        self._graphs = graphs
        self._vocabulary = vocabulary

    def words(self, crossed: Tensors, utterances: Sequence[Utterance]) -> list[tuple[Word, ...]]:
        """Of each utterance, in window time; none where it has no text."""
        frames = self.frames(crossed, utterances)
        return [self._placed(utterance, starts) for utterance, starts in zip(utterances, frames, strict=True)]

    def frames(self, crossed: Tensors, utterances: Sequence[Utterance]) -> list[list[int]]:
        """Where each token of text starts and the last one ends, in frames of 20 ms; nothing where there is no text."""
        spoken = [row for row, utterance in enumerate(utterances) if any(map(self._vocabulary.is_text, utterance.decoded.tokens))]
        found: list[list[int]] = [[] for _ in utterances]
        if not spoken:
            return found
        heard = crossed if len(spoken) == len(utterances) else self._graphs.select(crossed, spoken)
        sequences = [self._sequence(utterances[row]) for row in spoken]
        attention = self._attention(heard, sequences)
        for row, sequence, weights in zip(spoken, sequences, attention, strict=True):
            frames = max(1, min(weights.shape[2], utterances[row].duration_ms // TIMESTAMP_MS))
            heads = weights[:, : len(sequence), :frames]
            skipped = len(start_sequence(self._vocabulary, utterances[row].task)) - 1
            found[row] = token_frames(heads / heads.sum(axis=2, keepdims=True), skipped)
        return found

    def _sequence(self, utterance: Utterance) -> list[int]:
        text = filter(self._vocabulary.is_text, utterance.decoded.tokens)
        return [*start_sequence(self._vocabulary, utterance.task), *text, self._vocabulary.special.end]

    def _attention(self, crossed: Tensors, sequences: Sequence[Sequence[int]]) -> Floats:
        """Padded at the right, where causal attention never looks."""
        length = max(len(sequence) for sequence in sequences)
        tokens = np.full((len(sequences), length), self._vocabulary.special.end, np.int64)
        for row, sequence in zip(tokens, sequences, strict=True):
            row[: len(sequence)] = sequence
        places = np.arange(length)
        later = np.where(places[None, :] > places[:, None], np.float32(FORBIDDEN), np.float32(0))
        bias = np.broadcast_to(later, (len(sequences), 1, length, length))
        positions = np.broadcast_to(places, tokens.shape)
        return self._graphs.attention(Step(tokens, positions, bias, np.zeros((len(sequences), 1), np.int64)), crossed)

    def _placed(self, utterance: Utterance, frames: Sequence[int]) -> tuple[Word, ...]:
        decoded = utterance.decoded
        said = [
            (token, exp(log_probability))
            for token, log_probability in zip(decoded.tokens, decoded.log_probabilities, strict=False)
            if self._vocabulary.is_text(token)
        ]
        # The path starts at the window's first frame, whenever the first word does, and no word is spoken in silence.
        first_ms, last_ms = utterance.sound_ms or (0, utterance.duration_ms)
        stretches = pairwise(min(max(frame * TIMESTAMP_MS, first_ms), max(first_ms, last_ms)) for frame in frames)
        tokens = [
            SpokenToken(token, start_ms, end_ms, probability)
            for (token, probability), (start_ms, end_ms) in zip(said, stretches, strict=True)
        ]
        return build_words(self._vocabulary, tokens, utterance.task.language)
