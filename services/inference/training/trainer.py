"""A training from its order to the detector."""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from services.detection.metrics import Counts, macro
from services.inference.training.checkpoint import RESUMED, Best, State, load, save
from services.inference.training.export import export
from services.inference.training.failures import LossDiverged, NoUsableData
from services.inference.training.judging import Judge, Judgement
from services.inference.training.learning import Learner, balance_of
from services.inference.training.material import norm_of, open_material
from services.inference.training.network import new_weights
from services.inference.training.order import Order, read_files, read_order
from services.inference.training.sampling import batches, drawn_runs, layout_of
from services.inference.training.split import split

PATIENCE_EPOCHS = 5
MODEL = "detector.onnx"

Json: TypeAlias = Mapping[str, Any]
OnStep: TypeAlias = Callable[[], None]


def train(folder: Path, on_step: OnStep) -> Iterator[Json]:
    """What the training has to say, epoch by epoch and at the end; goes on from the folder's checkpoint where there is one.

    on_step: called before every step; what it raises ends the training. Raises TrainingFailed.
    """
    training = _Training(folder, read_order(folder))
    state = training.begun()
    while not training.is_over(state):
        state, metrics = training.epoch(state, on_step)
        path = folder / f"checkpoint-{state.epoch:03d}.npz"
        save(state, path)
        yield {"epoch": metrics, "checkpoint": str(path)}
    yield {"done": training.finished(state)}


class _Training:
    """One order over its files."""

    def __init__(self, folder: Path, order: Order) -> None:
        self._folder, self._order, self._layout = folder, order, layout_of(order)
        self._materials = open_material(read_files(folder), order.artifact_types)
        if not self._materials:
            raise NoUsableData("no file holds any audio")
        self._split = split(self._materials, order.validation_split, order.seed)
        self._norm = norm_of([self._materials[part.file].features[part.start : part.end] for part in self._split.training])
        self._balance = balance_of(self._materials, self._split.training)
        self._steps = max(1, math.ceil(len(self._drawn(0)) / self._layout.runs))
        self._learner = Learner(order, self._norm, self._balance, self._steps)
        self._judge = Judge(self._materials, self._split.validation, order.artifact_types, self._norm, self._balance)

    def begun(self) -> State:
        """The state to start from."""
        weights = new_weights(self._balance.priors, self._order.seed)
        fresh = State(0, weights, self._learner.moments(weights))
        saved = self._folder / RESUMED
        return load(saved, fresh) if saved.exists() else fresh

    def is_over(self, state: State) -> bool:
        """All epochs are done, or too many brought nothing better."""
        best_epoch = state.best.epoch if state.best else state.epoch
        return state.epoch >= self._order.epochs or state.epoch - best_epoch >= PATIENCE_EPOCHS

    def epoch(self, state: State, on_step: OnStep) -> tuple[State, Json]:
        """The state after one more epoch, and what it achieved. Raises LossDiverged."""
        epoch, weights, moments, total = state.epoch + 1, state.weights, state.moments, 0.0
        for step, batch in enumerate(batches(self._materials, self._drawn(epoch), self._layout, self._steps)):
            on_step()
            weights, moments, loss = self._learner.step(weights, moments, batch, (epoch, step))
            if not math.isfinite(loss):
                raise LossDiverged(f"the loss is no number any more in epoch {epoch}: a lower learning rate may help")
            total += loss
        judgement = self._judge.judge(weights)
        if not math.isfinite(judgement.loss):
            raise LossDiverged(f"the loss on the held-out audio is no number any more in epoch {epoch}")
        metrics = {
            "epoch": epoch,
            "training_loss": total / self._steps,
            "validation_loss": judgement.loss,
            "validation_f1_score": judgement.f1_score,
        }
        return State(epoch, weights, moments, _better(state.best, epoch, weights, judgement)), metrics

    def finished(self, state: State) -> Json:
        """Write the best epoch's network; its path and figures."""
        if state.best is None:
            raise NoUsableData("no epoch was trained")
        path = self._folder / MODEL
        export(path, state.best.weights, self._norm, self._order.artifact_types, state.best.thresholds)
        return {"model": str(path), "eval_metrics": _evaluation(self._order, state.best)}

    def _drawn(self, epoch: int) -> list[Any]:
        random = np.random.default_rng([self._order.seed, epoch])
        return drawn_runs(self._materials, self._split.training, self._layout, random)


def _better(best: Best | None, epoch: int, weights: Any, judgement: Judgement) -> Best:
    """The epoch with the higher F1; with equal ones, that with the lower loss."""
    rank = (round(judgement.f1_score, 6), -judgement.loss)
    if best and best.rank >= rank:
        return best
    counts = [[each.right, each.expected, each.found] for each in judgement.by_type.values()]
    return Best(epoch, rank, weights, judgement.thresholds, counts)


def _evaluation(order: Order, best: Best) -> Json:
    """Event-based figures of the held-out audio, by type and over all."""
    by_type = {name: Counts(*counts) for name, counts in zip(order.artifact_types, best.counts, strict=True)}
    means = macro(by_type)
    per_class = {
        name: {
            "precision": each.precision,
            "recall": each.recall,
            "f1_score": each.f1_score,
            "support": each.expected,
            "threshold": round(float(threshold), 6),
        }
        for (name, each), threshold in zip(by_type.items(), best.thresholds, strict=True)
    }
    return {"precision": means.precision, "recall": means.recall, "f1_score": means.f1_score, "per_class": per_class}
