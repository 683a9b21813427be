"""A training between two epochs, on disk: from it the epochs that follow are those of a training that never stopped."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from services.inference.training.learning import Moments
from services.inference.training.material import Floats
from services.inference.training.network import Weights

RESUMED = "checkpoint.npz"


@dataclass(frozen=True)
class Best:
    """The epoch that will be kept. rank: more is better."""

    epoch: int
    rank: tuple[float, float]
    weights: Weights
    thresholds: Floats
    counts: Sequence[Sequence[int]]


@dataclass(frozen=True)
class State:
    """Everything that the next epoch starts from. epoch: the last finished one, 0 before the first."""

    epoch: int
    weights: Weights
    moments: Moments
    best: Best | None = field(default=None)


def save(state: State, path: Path) -> None:
    """Write the state; the file is there when it is whole, and on the disk."""
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        np.savez(file, **_named(state))
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)


def _named(state: State) -> dict[str, Any]:
    leaves = {f"state_{index}": leaf for index, leaf in enumerate(jax.tree.leaves((state.weights, state.moments)))}
    if state.best is None:
        return {"epoch": state.epoch, **leaves}
    kept = {f"best_{index}": leaf for index, leaf in enumerate(jax.tree.leaves(state.best.weights))}
    facts = {
        "best_epoch": state.best.epoch,
        "rank": np.asarray(state.best.rank),
        "thresholds": state.best.thresholds,
        "counts": np.asarray(state.best.counts),
    }
    return {"epoch": state.epoch, **leaves, **kept, **facts}


def load(path: Path, fresh: State) -> State:
    """The saved state. fresh: one of the same order, for its form. Raises ValueError for a state of another form."""
    with np.load(path) as saved:
        weights, moments = _leaves(saved, "state", (fresh.weights, fresh.moments))
        if "best_epoch" not in saved:
            return State(int(saved["epoch"]), weights, moments)
        first, second = saved["rank"].tolist()
        best = Best(
            int(saved["best_epoch"]), (first, second), _leaves(saved, "best", fresh.weights), saved["thresholds"], saved["counts"].tolist()
        )
        return State(int(saved["epoch"]), weights, moments, best)


def _leaves(saved: Any, name: str, form: Any) -> Any:
    """The saved arrays in the tree of `form`."""
    old = jax.tree.leaves(form)
    found = [saved[f"{name}_{index}"] for index in range(len(old)) if f"{name}_{index}" in saved]
    if [np.shape(leaf) for leaf in found] != [np.shape(leaf) for leaf in old]:
        raise ValueError("the checkpoint belongs to another order")
    return jax.tree.unflatten(jax.tree.structure(form), [jax.numpy.asarray(leaf) for leaf in found])
