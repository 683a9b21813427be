"""How good the network is on what was held out, and where its thresholds lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from services.detection.detections import Detection, detections_of
from services.detection.features import FEATURE_COUNT, FRAME_MS
from services.detection.metrics import Counts, event_based, macro
from services.inference.training.learning import Balance
from services.inference.training.material import FULL_CONFIDENCE, Floats, Marks, Material, Norm
from services.inference.training.network import Weights, logits
from services.inference.training.shape import CONTEXT_FRAMES
from services.inference.training.split import Part

MERGE_WINDOW_MS = 200
MIN_DURATION_MS = 50
_PIECE_FRAMES = 2_048
# Between two parts: longer than what joins detections, and than the collar.
_BREAK_FRAMES = 50
_MIDDLE = 0.5
_THRESHOLDS = np.asarray([0.02, 0.05, *np.arange(0.1, 0.91, 0.05), 0.95, 0.98], np.float32)


@dataclass(frozen=True)
class Judgement:
    """loss: mean of the frames. thresholds: (types,) at which the counts by type were made."""

    loss: float
    thresholds: Floats
    by_type: Mapping[str, Counts]

    @property
    def f1_score(self) -> float:
        """Mean over the types."""
        return macro(self.by_type).f1_score


class Judge:
    """The held-out parts on one line of time, with breaks between them."""

    def __init__(
        self, materials: Sequence[Material], parts: Sequence[Part], artifact_types: Sequence[str], norm: Norm, balance: Balance
    ) -> None:
        self._materials, self._parts, self._artifact_types = materials, parts, artifact_types
        self._norm, self._balance = norm, balance
        self._events = _on_one_line(materials, parts)
        self._logits = jax.jit(logits)

    def judge(self, weights: Weights) -> Judgement:
        """Loss, the best thresholds and what they find."""
        found = [self._heard(weights, part) for part in self._parts]
        frames = sum(len(scores) for scores in found)
        loss = sum(
            _loss(scores, self._materials[part.file].marks[part.start : part.end], self._balance)
            for scores, part in zip(found, self._parts, strict=True)
        ) / max(1, frames)
        silence = np.full((_BREAK_FRAMES, len(self._artifact_types)), -np.inf, np.float32)
        line = np.concatenate([piece for scores in found for piece in (scores, silence)])
        scores = np.asarray(jax.nn.sigmoid(line))
        tuned = [self._tuned(scores[:, [column]], name) for column, name in enumerate(self._artifact_types)]
        return Judgement(
            float(loss),
            np.asarray([each[0] for each in tuned], np.float32),
            {name: each[1] for name, each in zip(self._artifact_types, tuned, strict=True)},
        )

    def _heard(self, weights: Weights, part: Part) -> Floats:
        """Logits of a part, (frames, types), in pieces of one size."""
        features = self._materials[part.file].features
        pieces = [np.zeros((0, len(self._artifact_types)), np.float32)]
        for start in range(part.start, part.end, _PIECE_FRAMES):
            first = start - CONTEXT_FRAMES
            window, inside = (
                np.zeros((1, _PIECE_FRAMES + 2 * CONTEXT_FRAMES, FEATURE_COUNT), np.float32),
                np.zeros((1, _PIECE_FRAMES + 2 * CONTEXT_FRAMES, 1), np.float32),
            )
            span = slice(max(0, first), min(len(features), first + window.shape[1]))
            window[0, span.start - first : span.stop - first] = self._norm.applied(features[span])
            inside[0, span.start - first : span.stop - first] = 1
            scores = np.asarray(self._logits(weights, window, inside))[0, CONTEXT_FRAMES:]
            pieces.append(scores[: min(_PIECE_FRAMES, part.end - start)])
        return np.concatenate(pieces)

    def _tuned(self, scores: Floats, name: str) -> tuple[float, Counts]:
        """The threshold with the best F1 and its counts; neighbours have a say, so that no lucky peak wins."""
        counts = [event_based(self._events, self._found(scores, name, float(threshold)), [name])[name] for threshold in _THRESHOLDS]
        if not counts[0].expected:
            return _MIDDLE, event_based(self._events, self._found(scores, name, _MIDDLE), [name])[name]
        padded = np.pad([each.f1_score for each in counts], 1, mode="edge")
        smooth = np.round((padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4, 6)
        best = min(range(len(counts)), key=lambda index: (-smooth[index], abs(_THRESHOLDS[index] - _MIDDLE)))
        return float(_THRESHOLDS[best]), counts[best]

    def _found(self, scores: Floats, name: str, threshold: float) -> list[Detection]:
        return detections_of(scores, [name], threshold, MERGE_WINDOW_MS, MIN_DURATION_MS, len(scores) * FRAME_MS)


def _loss(scores: Floats, marks: Marks, balance: Balance) -> float:
    """`learning.summed_loss` of a part, each frame counted once."""
    labelled = marks > 0
    losses = np.logaddexp(np.float32(0), scores) - scores * labelled
    factors = np.where(labelled, marks * (balance.weights / np.float32(FULL_CONFIDENCE)), np.float32(1))
    return float((losses * factors).mean(axis=1).sum())


def _on_one_line(materials: Sequence[Material], parts: Sequence[Part]) -> list[Detection]:
    """The events that start in a part, moved to where the part lies on the line."""
    events, position = [], 0
    for part in parts:
        start_ms, end_ms, moved_ms = part.start * FRAME_MS, part.end * FRAME_MS, (position - part.start) * FRAME_MS
        inside = [event for event in materials[part.file].events if start_ms <= event.start_ms < end_ms]
        events += [
            Detection(event.artifact_type, event.start_ms + moved_ms, min(event.end_ms, end_ms) + moved_ms, event.confidence)
            for event in inside
        ]
        position += part.end - part.start + _BREAK_FRAMES
    return events
