"""Windows made into tensors, ahead of the training and on a thread of their own."""

import queue
import random
import threading
from collections.abc import Iterator

import numpy as np
import torch

from tools.whisper.curriculum import choose_shape, stage_at
from tools.whisper.losses import Batch
from tools.whisper.targets import IGNORED
from tools.whisper.windows import Composer, Shape, Window

TARGET_TOKENS = 448
AHEAD = 4


def batches(composer: Composer, seed: int, first_step: int, steps: int, seconds: float) -> Iterator[Batch]:
    """A batch for every step, each of about `seconds` of sound."""
    ready: queue.Queue[Batch] = queue.Queue(AHEAD)

    def work() -> None:
        for step in range(first_step, steps):
            shape = choose_shape(random.Random(f"{seed} {step}"), stage_at(step / steps))
            ready.put(collate([composer.window(shape) for _ in range(max(2, round(seconds / shape.seconds)))], shape, composer.end))

    threading.Thread(target=work, name="batches", daemon=True).start()
    for _ in range(first_step, steps):
        yield ready.get(timeout=600)


def collate(windows: list[Window], shape: Shape, end: int) -> Batch:
    """The tensors of windows of one shape; longer targets than the decoder takes are cut."""
    longest = min(TARGET_TOKENS, max(len(window.target.inputs) for window in windows))
    guides = [
        (place, guide.row, guide.first_frame, guide.last_frame)
        for place, window in enumerate(windows)
        for guide in window.target.guides
        if guide.row < longest
    ]
    return Batch(
        torch.from_numpy(np.stack([window.features for window in windows])),
        torch.tensor([_filled(window.target.inputs, longest, end) for window in windows]),
        torch.tensor([_filled(window.target.labels, longest, IGNORED) for window in windows]),
        torch.from_numpy(np.stack([window.words for window in windows])),
        torch.from_numpy(np.stack([window.phones for window in windows])),
        torch.tensor(guides, dtype=torch.float32).reshape(-1, 4),
        shape.first_position,
    )


def _filled(ids: list[int], length: int, filler: int) -> list[int]:
    return ids[:length] + [filler] * (length - len(ids))
