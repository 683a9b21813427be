"""aiosqlite with one hop to its thread per statement, instead of one each for cursor, execute, fetch and close.

A hop costs more than the statement: 100 µs and more when the cores are busy.
"""

import sqlite3
from collections import deque
from collections.abc import Iterable
from typing import Any

import aiosqlite

_ITERATION_ROWS = 64
BUSY_SECONDS = 5.0
# These touch no file and no lock, so they need no thread.
_INSTANT = ("SAVEPOINT ", "RELEASE ")


class Cursor(aiosqlite.Cursor):
    """A cursor that fetches while it executes."""

    def __init__(self, connection: aiosqlite.Connection, cursor: sqlite3.Cursor) -> None:
        super().__init__(connection, cursor)
        self._rows: deque[Any] = deque()

    async def __aenter__(self) -> "Cursor":
        return self

    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> "Cursor":
        """Execute and fetch."""
        if sql.startswith(_INSTANT):
            self._rows = self._run(sql, ())
        else:
            self._rows = await self._conn._execute(self._run, sql, parameters or ())  # type: ignore[no-untyped-call]
        return self

    async def fetchone(self) -> Any:
        """The next row of the last execute, or None."""
        return self._rows.popleft() if self._rows else None

    async def fetchmany(self, size: int | None = None) -> Iterable[Any]:
        """At most so many of the rows that are left."""
        return [self._rows.popleft() for _ in range(min(size or self.arraysize, len(self._rows)))]

    async def fetchall(self) -> Iterable[Any]:
        """The rows that are left."""
        rows, self._rows = self._rows, deque()
        return rows

    async def close(self) -> None:
        """Reset the statement; its rows are here already."""
        self._cursor.close()

    def _run(self, sql: str, parameters: Any) -> deque[Any]:
        self._cursor.execute(sql, parameters)
        return deque(self._cursor.fetchall() if self._cursor.description else ())


class Connection(aiosqlite.Connection):
    """A connection whose cursors are made on the spot."""

    def cursor(self) -> Cursor:  # type: ignore[override]
        """A cursor; SQLAlchemy's adapter enters it."""
        return Cursor(self, self._conn.cursor())


async def connect(path: str) -> Connection:
    """A connection in autocommit mode: transactions begin where SQLAlchemy's begin event says so."""
    connection = Connection(
        lambda: sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False), _ITERATION_ROWS
    )
    connection._thread.daemon = True
    await connection
    return connection
