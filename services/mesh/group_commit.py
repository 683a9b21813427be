"""Group commit without a timer: whatever waits shares one transaction, each unit in its own savepoint."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel.ext.asyncio.session import AsyncSession

from services.mesh import fault
from services.mesh.database_failures import translated, unavailable
from services.mesh.errors import MeshError, Overloaded
from services.mesh.identity import acting_on
from services.mesh.tracing.spans import carried

Unit = Callable[[AsyncSession], Awaitable[Any]]

_GROUP_UNITS = 64
_QUEUED_UNITS = 1024


@dataclass(slots=True)
class _Waiting:
    unit: Unit
    answer: asyncio.Future[Any]


class GroupCommit:
    """A bounded queue of units and the loops that commit them. committing: told how many units share each commit."""

    def __init__(
        self, transaction: Callable[[], AbstractAsyncContextManager[AsyncConnection]], committing: Callable[[float], None]
    ) -> None:
        self._transaction = transaction
        self._committing = committing
        self._queue: asyncio.Queue[_Waiting | None] = asyncio.Queue(_QUEUED_UNITS)

    async def submit(self, unit: Unit) -> Any:
        """The unit's result once it is committed. Raises Overloaded when too many units wait."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait(_Waiting(carried(acting_on(_flushing(unit))), answer))
        except asyncio.QueueFull:
            raise Overloaded from None
        return await answer

    async def run(self) -> None:
        """Commit groups until `close`."""
        while (group := await self._take()) is not None:
            if group:
                await self._commit(group)

    async def close(self, loops: int) -> None:
        """Let so many loops finish what waits and end."""
        for _ in range(loops):
            await self._queue.put(None)

    async def _take(self) -> list[_Waiting] | None:
        first = await self._queue.get()
        if first is None:
            return None
        group = [first]
        while len(group) < _GROUP_UNITS and not self._queue.empty():
            waiting = self._queue.get_nowait()
            if waiting is None:
                # Another loop's end mark; the queue is bounded but has room for what was just taken out of it.
                self._queue.put_nowait(None)
                break
            group.append(waiting)
        return [waiting for waiting in group if not waiting.answer.done()]

    async def _commit(self, group: list[_Waiting]) -> None:
        results: list[Any] = []
        self._committing(len(group))
        try:
            async with self._transaction() as connection:
                results = [await _attempt(connection, waiting.unit, alone=len(group) == 1) for waiting in group]
                fault.point("database.group.before_commit")
        except Exception as error:
            results = [error] if len(group) == 1 else [_copy(error) for _ in group]
        fault.point("database.group.before_answer")
        for waiting, result in zip(group, results, strict=True):
            _settle(waiting.answer, result)


def _flushing(unit: Unit) -> Unit:
    """The unit with what it left to write, which is its caller's as well."""

    async def run(session: AsyncSession) -> Any:
        result = await unit(session)
        await session.flush()
        return result

    return run


async def _attempt(connection: AsyncConnection, unit: Unit, *, alone: bool) -> Any:
    mode = "rollback_only" if alone else "create_savepoint"
    try:
        with translated():
            async with AsyncSession(connection, expire_on_commit=False, join_transaction_mode=mode) as session:
                result = await unit(session)
                await session.commit()
                return result
    except Exception as error:
        if alone:
            raise
        if connection.invalidated or not await _in_transaction(connection):
            raise unavailable("rolled_back") from error
        return error


async def _in_transaction(connection: AsyncConnection) -> bool:
    """False when SQLite undid the whole transaction by itself, as it may on a full or failing disk."""
    driver = (await connection.get_raw_connection()).driver_connection
    return bool(getattr(driver, "in_transaction", True))


def _copy(error: Exception) -> Exception:
    """One instance per waiter: a raised exception collects the traceback of whoever it is raised in."""
    if isinstance(error, MeshError):
        return type(error)(error.message, **error.metadata)
    return error


def _settle(answer: asyncio.Future[Any], result: Any) -> None:
    if answer.done():
        return
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)
