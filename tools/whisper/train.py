"""Train the test Whisper: `python -m tools.whisper.train CORPUS FOLDER [--steps N] [--minutes M] [--resume]`.

Writes a checkpoint every few minutes and a line of losses every fifty steps.
"""

import argparse
import copy
import itertools
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from tools.whisper.batches import batches
from tools.whisper.corpus import load_corpus
from tools.whisper.curriculum import stage_at
from tools.whisper.losses import Batch, Losses, losses
from tools.whisper.network import Network, new_network
from tools.whisper.optimizers import Optimizers
from tools.whisper.targets import alphabet_of
from tools.whisper.tokens import Coder, learn_tokenizer
from tools.whisper.windows import Composer

GRADIENT_NORM = 1.0
LOGGED_STEPS = 50


@dataclass(frozen=True)
class Plan:
    """How to train. seconds: sound in a batch; threads: workers, each with one core and half of the batch; minutes: when to stop early."""

    steps: int
    seconds: float
    learning_rate: float
    seed: int
    threads: int
    minutes: float
    save_minutes: float


class Trainer:
    """The network in full precision, and a copy in bfloat16 that does the work."""

    def __init__(self, network: Network, plan: Plan) -> None:
        self.network, self.plan = network, plan
        self.optimizers = Optimizers(network, plan.learning_rate)
        self._pool = ThreadPoolExecutor(plan.threads, "worker")
        self._half = copy.deepcopy(network).bfloat16()
        self._weights: list[Tensor] = [weight for weight in network.parameters() if weight.requires_grad]
        self._halves: list[Tensor] = [weight for weight in self._half.parameters() if weight.requires_grad]

    def step(self, batch: Batch, done: int) -> list[float]:
        """Learn from a batch; returns the losses in the order of `Losses`."""
        with torch.no_grad():
            torch._foreach_copy_(self._halves, self._weights)
        frame_weight = stage_at(done / self.plan.steps).frame_weight
        parts = list(self._pool.map(lambda part: self._gradients(part, frame_weight), _split(batch, self.plan.threads)))
        for place, weight in enumerate(self._weights):
            weight.grad = torch.stack([gradients[place].float() for _, gradients in parts]).mean(0)
        nn.utils.clip_grad_norm_(self._weights, GRADIENT_NORM)
        self.optimizers.step(done, self.plan.steps)
        return [sum(column) / len(parts) for column in zip(*(values for values, _ in parts), strict=True)]

    def _gradients(self, batch: Batch, frame_weight: float) -> tuple[list[float], tuple[Tensor, ...]]:
        found = losses(self._half(batch.features.bfloat16(), batch.tokens, batch.first_position), batch)
        return [float(value.detach()) for value in found], torch.autograd.grad(found.total(frame_weight), self._halves)


def _split(batch: Batch, parts: int) -> Iterator[Batch]:
    for rows in torch.arange(len(batch.tokens)).chunk(parts):
        first, last = int(rows[0]), int(rows[-1]) + 1
        mine = batch.guides[(batch.guides[:, 0] >= first) & (batch.guides[:, 0] < last)] - torch.tensor([first, 0, 0, 0])
        yield Batch(
            batch.features[first:last],
            batch.tokens[first:last],
            batch.labels[first:last],
            batch.words[first:last],
            batch.phones[first:last],
            mine,
            batch.first_position,
        )


def train(corpus: Path, folder: Path, plan: Plan, *, resume: bool) -> None:
    """Train until the steps or the minutes are over."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(plan.seed)
    speech = load_corpus(corpus, "train")
    alphabet, coder = alphabet_of(speech), Coder(learn_tokenizer())
    trainer = Trainer(new_network(coder, len(alphabet.words), len(alphabet.phones)), plan)
    first = _restore(trainer, folder) if resume else 0
    composer = Composer(speech, coder, alphabet, plan.seed + first)
    began = saved = time.monotonic()
    sums: list[list[float]] = []
    for step, batch in zip(itertools.count(first), batches(composer, plan.seed, first, plan.steps, plan.seconds), strict=False):
        sums.append(trainer.step(batch, step))
        now = time.monotonic()
        over = step + 1 == plan.steps or now - began > plan.minutes * 60
        if over or len(sums) == LOGGED_STEPS:
            _log(folder, plan, step + 1, sums, now - began)
            sums = []
        if over or now - saved > plan.save_minutes * 60:
            _save(trainer, folder, step + 1)
            saved = now
        if over:
            break


def _log(folder: Path, plan: Plan, step: int, sums: list[list[float]], seconds: float) -> None:
    means = [round(sum(column) / len(sums), 3) for column in zip(*sums, strict=True)]
    told = dict(zip(Losses._fields, means, strict=True))
    line = json.dumps({"step": step, "minutes": round(seconds / 60, 1), "stage": stage_at((step - 1) / plan.steps).name, **told})
    with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(f"{line}\n")


def _save(trainer: Trainer, folder: Path, step: int) -> None:
    partial = folder / "checkpoint.part"
    torch.save({"step": step, "network": trainer.network.state_dict(), "optimizers": trainer.optimizers.state()}, partial)
    partial.replace(folder / "checkpoint.pt")


def _restore(trainer: Trainer, folder: Path) -> int:
    saved = torch.load(folder / "checkpoint.pt", weights_only=True)
    trainer.network.load_state_dict(saved["network"])
    trainer.optimizers.restore(saved["optimizers"])
    return int(saved["step"])


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=4_400)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=1e6)
    parser.add_argument("--save-minutes", type=float, default=5)
    parser.add_argument("--resume", action="store_true")
    options = vars(parser.parse_args())
    corpus, folder, resume = (options.pop(name) for name in ("corpus", "folder", "resume"))
    torch.set_num_threads(1)
    train(corpus, folder, Plan(**options), resume=resume)


if __name__ == "__main__":
    main()
