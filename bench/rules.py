"""What a trained detector is compared with: for each type the one feature and the one threshold that tell its frames best."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.detection.features import Features
from services.inference.training.material import Floats, Marks, Material

_LEVELS = 200


@dataclass(frozen=True, slots=True)
class Rule:
    """A frame has the type where sign * feature is at least the level."""

    column: int
    sign: int
    level: float
    f1_score: float


def best_rules(materials: Sequence[Material]) -> list[Rule]:
    """One rule per type, by F1 over the frames."""
    features = np.concatenate([np.asarray(material.features, np.float32) for material in materials])
    marks: Marks = np.concatenate([material.marks for material in materials])
    return [_best(features, marks[:, column] > 0) for column in range(marks.shape[1])]


def ruled(features: Features, rules: Sequence[Rule]) -> Floats:
    """Scores of 0 or 1: (frames, types) float32; a frame speaks for its neighbours, so that no click is too short to be told."""
    values = np.asarray(features, np.float32)
    hits = np.stack([rule.sign * values[:, rule.column] >= rule.level for rule in rules], axis=1)
    around = np.pad(hits, ((1, 1), (0, 0)))
    return (around[:-2] | hits | around[2:]).astype(np.float32)


def _best(features: Floats, has: NDArray[np.bool_]) -> Rule:
    candidates = [_of_column(sign * features[:, column], has, column, sign) for column in range(features.shape[1]) for sign in (1, -1)]
    return max(candidates, key=lambda rule: rule.f1_score)


def _of_column(values: Floats, has: NDArray[np.bool_], column: int, sign: int) -> Rule:
    """The level of this feature with the best F1, among quantiles of the frames with the type."""
    levels = np.quantile(values[has], np.linspace(0.0, 1.0, _LEVELS))
    right = has.sum() - np.searchsorted(np.sort(values[has]), levels)
    found = len(values) - np.searchsorted(np.sort(values), levels)
    scores = 2 * right / (has.sum() + found)
    best = int(scores.argmax())
    return Rule(column, sign, float(levels[best]), float(scores[best]))
