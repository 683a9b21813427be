"""Failures out of task groups, as the one error that decides what happens next."""

from collections.abc import Iterator
from contextlib import contextmanager

from services.inference.domain import LeaseLost


@contextmanager
def ungrouped() -> Iterator[None]:
    """Raise one error of an exception group instead of the group: LeaseLost if it is there, else the first."""
    try:
        yield
    except BaseExceptionGroup as group:
        leaves = list(_leaves(group))
        lost = (leaf for leaf in leaves if isinstance(leaf, LeaseLost))
        raise next(lost, leaves[0]) from group


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for member in group.exceptions:
        if isinstance(member, BaseExceptionGroup):
            yield from _leaves(member)
        else:
            yield member
