"""Word times from the attention of the alignment heads. Source of the method: the `timing` module of openai/whisper."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from transformers import WhisperForConditionalGeneration

from tools.whisper.network import ALIGNMENT_HEADS
from tools.whisper.tokens import Coder

FILTER_WIDTH = 7
FRAME_SECONDS = 0.02

Costs = NDArray[np.float32]


class Timed(NamedTuple):
    """A word and where it starts, in seconds."""

    text: str
    start: float


def word_times(model: WhisperForConditionalGeneration, coder: Coder, states: torch.Tensor, asked: list[int], ids: list[int]) -> list[Timed]:
    """Where the words of a transcript start. states: (1, frames, width) of the encoder; asked: what started the decoder."""
    if not ids:
        return []
    tokens = torch.tensor([[*asked, *ids]])
    with torch.no_grad():
        decoded = model.model.decoder(input_ids=tokens, encoder_hidden_states=states, output_attentions=True, use_cache=False)
    weights = torch.stack([decoded.cross_attentions[layer][0, head] for layer, head in ALIGNMENT_HEADS])
    starts = token_starts(_costs(weights[:, len(asked) - 1 :].numpy()))
    return _words(coder, ids, starts)


def _costs(weights: Costs) -> Costs:
    """weights: (heads, tokens, frames). Returns (tokens, frames), low where a token belongs."""
    spread = weights.std(axis=1, keepdims=True) + 1e-8
    smooth = median_filter((weights - weights.mean(axis=1, keepdims=True)) / spread, size=(1, 1, FILTER_WIDTH), mode="reflect")
    costs: Costs = -smooth.mean(axis=0)
    return costs


def token_starts(costs: Costs) -> NDArray[np.int64]:
    """First frame of each token on the cheapest monotonic path, which need not begin at the first frame; (tokens,)."""
    tokens, frames = costs.shape
    total = np.full((tokens + 1, frames + 1), np.inf, np.float32)
    total[0] = 0  # the first token may start anywhere, as speech does
    came = np.zeros((tokens + 1, frames + 1), np.int8)
    for diagonal in range(2, tokens + frames + 1):
        rows = np.arange(max(1, diagonal - frames), min(tokens, diagonal - 1) + 1)
        columns = diagonal - rows
        options = np.stack([total[rows - 1, columns - 1], total[rows - 1, columns], total[rows, columns - 1]])
        came[rows, columns] = options.argmin(axis=0)
        total[rows, columns] = costs[rows - 1, columns - 1] + options.min(axis=0)
    return _walked(came)


def _walked(came: NDArray[np.int8]) -> NDArray[np.int64]:
    row, column = came.shape[0] - 1, came.shape[1] - 1
    starts = np.zeros(row, np.int64)
    while row > 0 and column > 0:
        starts[row - 1] = column - 1
        step = came[row, column]
        row -= step != 2
        column -= step != 1
    return starts


def _words(coder: Coder, ids: list[int], starts: NDArray[np.int64]) -> list[Timed]:
    """Tokens joined to words: a new one begins with a space."""
    words: list[tuple[list[int], float]] = []
    for token, start in zip(ids, starts, strict=False):
        if not words or coder.tokenizer.decode([token]).startswith(" "):
            words.append(([], float(start) * FRAME_SECONDS))
        words[-1][0].append(token)
    return [Timed(coder.decode(tokens), start) for tokens, start in words]
