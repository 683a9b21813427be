"""The plainest decoder of the model, for its evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

from tools.whisper.alignment import Timed, word_times
from tools.whisper.grammar import Language
from tools.whisper.tokens import SPOKEN, Coder
from tools.whisper.utterance import SAMPLE_RATE_HZ, Waveform

MOST_TOKENS = 180


@dataclass(frozen=True)
class Recognizer:
    """A model that says the likeliest token at every step, without any other rule."""

    model: WhisperForConditionalGeneration
    coder: Coder

    def transcribe(self, waves: Sequence[Waveform], language: Language, *, timestamps: bool) -> list[list[Timed]]:
        """The words of each window and when they start."""
        states = self.encode(waves)
        asked = self.coder.start(language, timestamps=False)
        rows = self.greedy(states, self.coder.start(language, timestamps=timestamps))
        return [word_times(self.model, self.coder, states[place : place + 1], asked, row) for place, row in enumerate(rows)]

    def encode(self, waves: Sequence[Waveform]) -> torch.Tensor:
        """Encoder states of windows of at most 30 s, (batch, frames, width)."""
        features = WhisperFeatureExtractor()(list(waves), sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt").input_features
        with torch.no_grad():
            return self.model.model.encoder(features).last_hidden_state  # type: ignore[no-any-return, unused-ignore]

    def greedy(self, states: torch.Tensor, asked: list[int]) -> list[list[int]]:
        """Text tokens said about each row of encoder states."""
        end = self.coder.end
        tokens = torch.tensor([asked] * len(states))
        ended = torch.zeros(len(states), dtype=torch.bool)
        for _ in range(MOST_TOKENS):
            best = self._logits(states, tokens).argmax(-1).masked_fill(ended, end)
            tokens = torch.cat([tokens, best[:, None]], 1)
            ended |= best == end
            if bool(ended.all()):
                break
        return [[token for token in row if token < end] for row in tokens[:, len(asked) :].tolist()]

    def heard(self, states: torch.Tensor) -> list[tuple[str, float]]:
        """The likeliest language of each row, and how probable it is that nobody speaks."""
        start = torch.full((len(states), 1), self.coder.named("startoftranscript"))
        logits = self._logits(states, start)
        silence = logits.softmax(-1)[:, self.coder.named("nospeech")]
        first = self.coder.named(SPOKEN[0])
        best = logits[:, first : first + len(SPOKEN)].argmax(-1)
        return [(SPOKEN[int(language)], float(share)) for language, share in zip(best, silence, strict=True)]

    def _logits(self, states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            decoded = self.model.model.decoder(input_ids=tokens, encoder_hidden_states=states, use_cache=False)
            logits: torch.Tensor = self.model.proj_out(decoded.last_hidden_state[:, -1])
        return logits
