"""Work that another task does, in the context of the one that ordered it."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def within(scope: Callable[[], AbstractContextManager[None]], work: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """The same work, done inside a new scope each time."""

    async def run(*arguments: P.args, **options: P.kwargs) -> T:
        with scope():
            return await work(*arguments, **options)

    return run
