"""One step of learning: loss, gradients, optimizer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from services.detection.features import FEATURE_COUNT
from services.inference.training.material import FULL_CONFIDENCE, Floats, Material, Norm
from services.inference.training.network import Array, Weights, logits
from services.inference.training.order import Order
from services.inference.training.sampling import Batch
from services.inference.training.shape import WIDTH
from services.inference.training.split import Part

Moments: TypeAlias = Any

_GRADIENT_NORM = 1.0
_DECAY = 1e-3
_FIRST_RATE, _LAST_RATE = 0.1, 0.05
_DROPPED = 0.1
# Every run hears its features moved by as many deviations, the same for all of its frames: as if from another voice, room or microphone.
_COLOURED = 0.5
_HIGHEST_WEIGHT = 10.0
# Bounds the memory of one gradient, whatever the length of a chunk and the size of a batch.
_PASS_FRAMES = 16_384


@dataclass(frozen=True)
class Balance:
    """How labels are spread. priors: (types,) share of the frames. weights: (types,) factor on the loss of labelled frames."""

    priors: Floats
    weights: Floats


def balance_of(materials: Sequence[Material], parts: Sequence[Part]) -> Balance:
    """Labelled frames weigh as the square root of how rare they are: whole inverses make thresholds jumpy."""
    labelled = sum((materials[part.file].marks[part.start : part.end] > 0).sum(axis=0) for part in parts)
    priors = np.clip(labelled / max(1, sum(part.end - part.start for part in parts)), 1e-4, 0.5)
    return Balance(priors.astype(np.float32), np.clip(np.sqrt((1 - priors) / priors), 1.0, _HIGHEST_WEIGHT).astype(np.float32))


def summed_loss(scores: Array, marks: Array, weights: Array, rarity: Array) -> Array:
    """Weighted binary cross entropy, mean over types and sum over frames.

    scores: logits (batch, frames, types). marks: confidence of 255. weights: (batch, frames). rarity: (types,).
    """
    labelled = marks > 0
    losses = optax.sigmoid_binary_cross_entropy(scores, labelled.astype(jnp.float32))
    factors = jnp.where(labelled, marks / FULL_CONFIDENCE * rarity, 1.0)
    return jnp.sum(jnp.mean(losses * factors, axis=-1) * weights)


class Learner:
    """The compiled step. steps: of an epoch; the rate rises over the first and falls as a cosine over the order's epochs."""

    def __init__(self, order: Order, norm: Norm, balance: Balance, steps: int) -> None:
        self._norm, self._rarity, self._seed = norm, jnp.asarray(balance.weights), order.seed
        rate, total = order.learning_rate, max(2, order.epochs * steps)
        schedule = optax.warmup_cosine_decay_schedule(rate * _FIRST_RATE, rate, min(steps, total - 1), total, rate * _LAST_RATE)
        self._optimizer = optax.chain(optax.clip_by_global_norm(_GRADIENT_NORM), optax.adamw(schedule, weight_decay=_DECAY))
        self._gradients, self._moved = jax.jit(jax.value_and_grad(self._loss)), jax.jit(self._move)

    def moments(self, weights: Weights) -> Moments:
        """The optimizer's state before the first step."""
        return self._optimizer.init(weights)

    def step(self, weights: Weights, moments: Moments, batch: Batch, place: tuple[int, int]) -> tuple[Weights, Moments, float]:
        """Weights and moments after one batch, and its mean loss. place: epoch and step, from which dropout is drawn."""
        counted = max(1.0, float(batch.weights.sum()))
        loss, gradients = 0.0, None
        for index, rows in enumerate(_passes(batch)):
            key = jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(jax.random.key(self._seed), place[0]), place[1]), index)
            part, found = self._gradients(
                weights, key, self._norm.applied(batch.features[rows]), batch.inside[rows], batch.marks[rows], batch.weights[rows] / counted
            )
            loss += float(part)
            gradients = found if gradients is None else jax.tree.map(jnp.add, gradients, found)
        moved, kept = self._moved(weights, moments, gradients)
        return moved, kept, loss

    def _loss(self, weights: Weights, key: Array, features: Array, inside: Array, marks: Array, frames: Array) -> Array:
        dropping, colouring = jax.random.split(key)
        kept = jax.random.bernoulli(dropping, 1 - _DROPPED, (features.shape[0], 1, WIDTH)) / (1 - _DROPPED)
        coloured = features + _COLOURED * jax.random.normal(colouring, (features.shape[0], 1, FEATURE_COUNT))
        return summed_loss(logits(weights, coloured, inside, kept), marks, frames, self._rarity)

    def _move(self, weights: Weights, moments: Moments, gradients: Weights) -> tuple[Weights, Moments]:
        updates, kept = self._optimizer.update(gradients, moments, weights)
        return optax.apply_updates(weights, updates), kept


def _passes(batch: Batch) -> Iterator[slice]:
    """Rows that go through the network together."""
    runs, window = batch.weights.shape
    rows = max(1, _PASS_FRAMES // window)
    yield from (slice(start, start + rows) for start in range(0, runs, rows))
