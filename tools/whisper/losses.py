"""What the training minimises."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tools.whisper.network import Heard
from tools.whisper.targets import IGNORED

SILENCE_WEIGHT = 0.15
PHONE_WEIGHT = 0.5
GUIDE_WEIGHT = 0.5
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
    guide = _guide_loss(heard.attention, batch.guides) + _guide_loss(heard.following, _next_rows(batch))
    return Losses(text, words, _frame_loss(heard.phones, batch.phones), guide)


def _next_rows(batch: Batch) -> Tensor:
    """Guides for where each token becomes the last one said, a row later."""
    later = batch.guides + torch.tensor([0, 1, 0, 0])
    return later[later[:, 1] < batch.tokens.shape[1]]


def _frame_loss(scores: Tensor, classes: Tensor) -> Tensor:
    each = functional.cross_entropy(scores.float().flatten(0, 1), classes.flatten(), ignore_index=IGNORED, reduction="none")
    weights = torch.where(classes > 0, 1.0, SILENCE_WEIGHT).flatten() * (classes.flatten() != IGNORED)
    return (each * weights).sum() / weights.sum()


def _guide_loss(attention: Tensor, guides: Tensor) -> Tensor:
    """How far the attention is from an even look at the frames of the token and at no others: their divergence, 0 at best."""
    if not len(guides):
        return attention.float().sum() * 0
    rows = attention[:, guides[:, 0].long(), guides[:, 1].long()].float()
    frames = torch.arange(rows.shape[-1])
    covered = (torch.minimum(frames + 1, guides[:, 3:4]) - torch.maximum(frames, guides[:, 2:3])).clamp(0, 1)
    wanted = covered / covered.sum(-1, keepdim=True).clamp_min(_LEAST_ATTENTION)
    return (torch.special.xlogy(wanted, wanted) - wanted * torch.log(rows + _LEAST_ATTENTION)).sum(-1).mean()
