"""psycopg whose connections tell Postgres for which workspace they work, in the round trip of the statement that needs it."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast

import psycopg
from psycopg.pq import TransactionStatus

from services.mesh.row_security import SETTING, workspace_in_hand

_BACK = "ROLLBACK"
_OF_TRANSACTIONS = ("SAVEPOINT", "RELEASE", _BACK)
_TELL = f"SELECT set_config('{SETTING}', %s, false)"


class Connection(psycopg.AsyncConnection[Any]):
    """A connection that knows what it told.

    What is told in a transaction is undone with it, so after whatever undoes something it is told again.
    """

    # What the session was told last; None for nothing yet, or where that was undone. And whether the transaction in hand would undo it.
    _workspace: str | None = None
    _undoable = False

    @classmethod
    async def open(cls, *arguments: Any, **options: Any) -> "Connection":
        """As psycopg's connect."""
        return await cls.connect(*arguments, cursor_factory=Cursor, **options)

    async def commit(self) -> None:
        """Of a transaction that failed, Postgres makes a rollback; and so of one that fails now."""
        if self.info.transaction_status == TransactionStatus.INERROR:
            self.undo()
        try:
            await super().commit()
        except BaseException:
            self.undo()
            raise
        self._undoable = False

    async def rollback(self) -> None:
        """Undo the transaction in hand, if there is one."""
        self.undo()
        await super().rollback()

    def undo(self) -> None:
        """What was told since the transaction began may be told no more."""
        if self._undoable:
            self._workspace, self._undoable = None, False

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        """What is executed within works for the workspace in hand."""
        wanted = workspace_in_hand()
        if self._workspace == wanted:
            yield
            return
        self._workspace, self._undoable = None, not self.autocommit
        async with self.pipeline():
            await psycopg.AsyncCursor(self).execute(_TELL, [wanted])
            yield
        self._workspace = wanted


class Cursor(psycopg.AsyncCursor[Any]):
    """A cursor of such a connection."""

    async def execute(self, query: Any, params: Any = None, **options: Any) -> "Cursor":
        """As psycopg's."""
        connection = cast(Connection, self.connection)
        if isinstance(query, str) and query.startswith(_OF_TRANSACTIONS):
            if query.startswith(_BACK):
                connection.undo()
            return await super().execute(query, params, **options)
        async with connection.telling():
            return await super().execute(query, params, **options)

    async def executemany(self, query: Any, params_seq: Iterable[Any], *, returning: bool = False) -> None:
        """As psycopg's."""
        async with cast(Connection, self.connection).telling():
            await super().executemany(query, params_seq, returning=returning)
