"""What is trained when: short windows first, so that attention learns to align, then longer ones up to Whisper's 30 s."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from tools.whisper.targets import TARGETS_PER_SECOND
from tools.whisper.windows import Shape

POSITIONS = 1_500


class Kind(NamedTuple):
    """Windows of one kind and how often they come. moved: how often they take a random place among the encoder's positions."""

    share: float
    seconds: tuple[float, ...]
    many: bool
    moved: float


class Stage(NamedTuple):
    """A part of the training up to a fraction of its steps; frame_weight is that of the frame classifiers."""

    name: str
    until: float
    frame_weight: float
    kinds: tuple[Kind, ...]


STAGES = (
    Stage("sentence", 0.3, 1.0, (Kind(1.0, (2.8, 3.4, 4.0), many=False, moved=0.7),)),
    Stage(
        "paragraph",
        0.6,
        0.5,
        (
            Kind(0.25, (3.0, 4.0), many=False, moved=0.6),
            Kind(0.3, (5.0, 7.0), many=True, moved=0.6),
            Kind(0.3, (10.0, 13.0), many=True, moved=0.5),
            Kind(0.15, (18.0, 22.0), many=True, moved=0.3),
        ),
    ),
    Stage(
        "window",
        1.0,
        0.3,
        (
            Kind(0.55, (30.0,), many=True, moved=0.0),
            Kind(0.08, (30.0,), many=False, moved=0.0),
            Kind(0.2, (16.0, 22.0), many=True, moved=0.2),
            Kind(0.1, (8.0, 12.0), many=True, moved=0.3),
            Kind(0.07, (3.0, 4.0), many=False, moved=0.3),
        ),
    ),
)


def stage_at(progress: float, stages: Sequence[Stage] = STAGES) -> Stage:
    """The stage at a fraction of the training."""
    return next((stage for stage in stages if progress < stage.until), stages[-1])


def choose_shape(chance: random.Random, stage: Stage) -> Shape:
    """The windows of a step."""
    kind = chance.choices(stage.kinds, [kind.share for kind in stage.kinds])[0]
    seconds = chance.choice(kind.seconds)
    free = POSITIONS - round(seconds * TARGETS_PER_SECOND)
    return Shape(seconds, kind.many, chance.randrange(free) if free and chance.random() < kind.moved else 0)
