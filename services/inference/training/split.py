"""What is learnt from and what is held out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.inference.training.failures import NoUsableData
from services.inference.training.material import Material

GAP_FRAMES = 256
_PLACES = 11


@dataclass(frozen=True, slots=True)
class Part:
    """Frames [start, end) of one of the files."""

    file: int
    start: int
    end: int


@dataclass(frozen=True)
class Split:
    """Parts to learn from and parts to judge by."""

    training: Sequence[Part]
    validation: Sequence[Part]


def split(materials: Sequence[Material], share: float, seed: int) -> Split:
    """Hold out whole files, as nearly `share` of the frames as types allow; of a single file, a stretch of time.

    Every type that at least two files have is on both sides; what one file alone has is learnt. Raises NoUsableData without any label.
    """
    if not any(material.marks.any() for material in materials):
        raise NoUsableData("no annotation lies in the audio")
    if len(materials) == 1:
        return _by_time(materials[0], share)
    held = _held_files(materials, share, np.random.default_rng(seed).permutation(len(materials)).tolist())
    parts = [Part(index, 0, len(material.features)) for index, material in enumerate(materials)]
    return Split([part for part in parts if part.file not in held], [part for part in parts if part.file in held])


def _held_files(materials: Sequence[Material], share: float, order: Sequence[int]) -> set[int]:
    """First a file for every type, the rarest first; then files up to the share."""
    has = np.asarray([material.marks.any(axis=0) for material in materials])
    frames = [len(material.features) for material in materials]
    held: set[int] = set()
    for column in np.argsort(has.sum(axis=0), kind="stable"):
        if not any(has[index, column] for index in held):
            held.update([index for index in order if has[index, column] and _spares(has, held | {index})][:1])
    for index in order:
        is_short = sum(frames[each] for each in held) + frames[index] / 2 <= share * sum(frames)
        if index not in held and (is_short or not held) and _spares(has, held | {index}):
            held.add(index)
    return held or {order[0]}


def _spares(has: np.typing.NDArray[np.bool_], held: set[int]) -> bool:
    """Whether the files that are not held still have every type."""
    kept = [index for index in range(len(has)) if index not in held]
    return bool(kept) and bool(np.all(has[kept].any(axis=0) | ~has.any(axis=0)))


def _by_time(material: Material, share: float) -> Split:
    """A stretch where both sides have as many types as can be, with a gap around it."""
    frames = len(material.features)
    length = max(1, round(frames * share))
    places = [round(place * (frames - length) / (_PLACES - 1)) for place in reversed(range(_PLACES))]
    candidates = [_around(start, start + length, frames) for start in places]
    return max(candidates, key=lambda candidate: _types_on_both_sides(material, candidate))


def _around(start: int, end: int, frames: int) -> Split:
    gap = min(GAP_FRAMES, frames // 20)
    sides = [Part(0, 0, start - gap), Part(0, end + gap, frames)]
    return Split([side for side in sides if side.end > side.start], [Part(0, start, end)])


def _types_on_both_sides(material: Material, candidate: Split) -> tuple[int, int]:
    learnt, judged = (
        np.any([material.marks[part.start : part.end].any(axis=0) for part in parts], axis=0)
        for parts in (candidate.training, candidate.validation)
    )
    return int(learnt.sum()), int((learnt & judged).sum())
