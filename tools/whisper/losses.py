"""What the training minimises."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tools.whisper.network import Heard
from tools.whisper.targets import IGNORED

SILENCE_WEIGHT = 0.15
PHONE_WEIGHT = 0.5
GUIDE_WEIGHT = 0.2
_LEAST_ATTENTION = 1e-6


class Batch(NamedTuple):
    """features: (batch, 80, frames); tokens, labels: (batch, tokens); words, phones: (batch, frames / 2); guides: (guides, 4)
    of batch row, token row, first and last frame; first_position: of the encoder, 20 ms each."""

    features: Tensor
    tokens: Tensor
    labels: Tensor
    words: Tensor
    phones: Tensor
    guides: Tensor
    first_position: int


class Losses(NamedTuple):
    """text: of the transcript; words, phones: of the frame classifiers; guide: of the alignment heads."""

    text: Tensor
    words: Tensor
    phones: Tensor
    guide: Tensor

    def total(self, frame_weight: float) -> Tensor:
        """The sum to minimise."""
        return self.text + frame_weight * (self.words + PHONE_WEIGHT * self.phones) + GUIDE_WEIGHT * self.guide


def losses(heard: Heard, batch: Batch) -> Losses:
    """How far off the network is."""
    text = functional.cross_entropy(heard.logits.float().flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED)
    words = _frame_loss(heard.words, batch.words)
    return Losses(text, words, _frame_loss(heard.phones, batch.phones), _guide_loss(heard.attention, batch.guides))


def _frame_loss(scores: Tensor, classes: Tensor) -> Tensor:
    each = functional.cross_entropy(scores.float().flatten(0, 1), classes.flatten(), ignore_index=IGNORED, reduction="none")
    weights = torch.where(classes > 0, 1.0, SILENCE_WEIGHT).flatten() * (classes.flatten() != IGNORED)
    return (each * weights).sum() / weights.sum()


def _guide_loss(attention: Tensor, guides: Tensor) -> Tensor:
    """How little of the attention falls on the frames of the word. Source: Tachibana et al. 2017, guided attention."""
    if not len(guides):
        return attention.float().sum() * 0
    rows = attention[:, guides[:, 0].long(), guides[:, 1].long()].float()
    frames = torch.arange(rows.shape[-1])
    inside = (frames >= guides[:, 2:3]) & (frames < guides[:, 3:4])
    return -torch.log((rows * inside).sum(-1) + _LEAST_ATTENTION).mean()
