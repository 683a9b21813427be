"""Muon for the hidden matrices, AdamW for all else, and one schedule for both.

Source: Jordan et al. 2024, Muon; the learning rate is shared as in Liu et al. 2025, "Muon is scalable", eq. 4.
"""

from torch import nn
from torch.optim import AdamW, Muon

from tools.whisper.network import Network

WARM_UP_STEPS = 60
COOL_DOWN_SHARE = 0.2
LEAST_RATE = 0.02
WEIGHT_DECAY = 0.01


class Optimizers:
    """Both optimizers as one."""

    def __init__(self, network: Network, learning_rate: float) -> None:
        hidden, rest = _shared_out(network)
        self._rate = learning_rate
        self._all = (
            Muon(hidden, lr=learning_rate, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
            AdamW(rest, lr=learning_rate, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY),
        )

    def step(self, done: int, steps: int) -> None:
        """Apply the gradients at the rate of step `done` of `steps`."""
        rate = self._rate * rate_at(done, steps)
        for optimizer in self._all:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()

    def state(self) -> list[dict[str, object]]:
        """What a checkpoint keeps."""
        return [optimizer.state_dict() for optimizer in self._all]

    def restore(self, states: list[dict[str, object]]) -> None:
        """Go on from a checkpoint."""
        for optimizer, state in zip(self._all, states, strict=True):
            optimizer.load_state_dict(state)


def rate_at(done: int, steps: int) -> float:
    """Share of the learning rate: a rise, a plateau, a linear fall."""
    left = (1 - done / steps) / COOL_DOWN_SHARE
    return min(1.0, (done + 1) / WARM_UP_STEPS, max(LEAST_RATE, left))


def _shared_out(network: Network) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    hidden: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, weight in network.named_parameters():
        if weight.requires_grad:
            (hidden if weight.dim() == 2 and ".layers." in name else rest).append(weight)
    return hidden, rest
