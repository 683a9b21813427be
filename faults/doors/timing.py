"""Whether two kinds of question can be told apart by how long their answers take."""

import bisect
import math
import random
import time
from collections.abc import Callable, Sequence


def separability(ask_one: Callable[[], object], ask_other: Callable[[], object], samples: int, chance: random.Random) -> float:
    """How likely times this different are when nothing sets them apart: p of the Kolmogorov-Smirnov test on two samples.

    Both are asked in random order, so that whatever else this machine does falls on both.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for which in chance.sample([0, 1] * samples, 2 * samples):
        started = time.perf_counter()
        (ask_one, ask_other)[which]()
        times[which].append(time.perf_counter() - started)
    return kolmogorov_smirnov(*times)


def kolmogorov_smirnov(one: Sequence[float], other: Sequence[float]) -> float:
    """p of the two-sample test, by its asymptotic series. Source: Press et al., Numerical Recipes, 3rd ed., sec. 14.3.3."""
    first, second = sorted(one), sorted(other)
    points = [*first, *second]
    gap = max(abs(bisect.bisect_right(first, x) / len(first) - bisect.bisect_right(second, x) / len(second)) for x in points)
    root = math.sqrt(len(first) * len(second) / (len(first) + len(second)))
    scaled = (root + 0.12 + 0.11 / root) * gap
    if scaled < 0.2:
        return 1.0
    return min(1.0, 2 * sum((-1.0) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 101)))
