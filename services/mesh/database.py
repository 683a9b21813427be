"""One service's database: transactions, snapshots and group commit, on SQLite or Postgres."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Row, Select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel.ext.asyncio.session import AsyncSession

from services.mesh import fault, semconv
from services.mesh.columns import DialectName
from services.mesh.database_failures import translated, unavailable
from services.mesh.engines import Engines, make_engines, parse_url
from services.mesh.errors import ServiceUnavailable
from services.mesh.group_commit import GroupCommit
from services.mesh.sqlite_file import has_room, prepare_file

T = TypeVar("T")

_TRANSACTION_SECONDS = 30.0
_CHECK_SECONDS = 2.0
_RETRIES = 5
_FIRST_RETRY_SECONDS = 0.02
_POSTGRES_GROUPS = 2


class Database:
    """Transactions of one service; use `open_database`."""

    def __init__(self, engines: Engines, dialect: DialectName, schema: str, file: Path | None = None) -> None:
        self.dialect = dialect
        self.schema = schema
        self.group_loops = 1 if dialect == "sqlite" else _POSTGRES_GROUPS
        self.groups = GroupCommit(self._writing, semconv.DATABASE_GROUP_UNITS.labels(schema).observe)
        self._engines = engines
        self._file = file
        # SQLite has one writer; asyncio's semaphore serves its waiters in the order they came.
        self._writers = asyncio.Semaphore(1 if dialect == "sqlite" else 1024)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A session that commits when the block ends and rolls back when it raises.

        Raises ServiceUnavailable: outcome 'rolled_back', or 'unknown' when the commit's answer was lost.
        """
        async with self._writing() as connection:
            async with AsyncSession(connection, expire_on_commit=False, join_transaction_mode="rollback_only") as session:
                yield session
                await session.flush()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """A read-only snapshot; never waits for a writer."""
        with translated():
            async with AsyncSession(self._engines.reader, expire_on_commit=False) as session:
                yield session

    async def read_all(self, statement: Select[Any], /, **parameters: Any) -> Sequence[Row[Any]]:
        """The rows of one statement, outside of a transaction, at a seventh of the cost of `reading`.

        Whatever one statement answers is read this way; `reading` is for several that must see one state.
        statement: built once, at import, with a bindparam for each parameter: building it takes as long as running it.
        """
        with translated():
            return await self._engines.single.all(statement, parameters)

    async def read_one(self, statement: Select[Any], /, **parameters: Any) -> Row[Any] | None:
        """The first row of `read_all`, of a statement that has one or none."""
        rows = await self.read_all(statement, **parameters)
        return rows[0] if rows else None

    async def grouped(self, unit: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """The unit's result after COMMIT. Units that wait together share a transaction, each in a savepoint.

        Raises what the unit raised, Overloaded, or ServiceUnavailable as `transaction` does.
        """
        result: T = await self.groups.submit(unit)
        return result

    async def check(self) -> None:
        """Raises ServiceUnavailable unless a query is answered within two seconds and a SQLite file has room to grow."""
        try:
            async with asyncio.timeout(_CHECK_SECONDS), self.reading() as session:
                await (await session.connection()).execute(text("SELECT 1"))
        except TimeoutError as error:
            raise unavailable("rolled_back") from error
        if self._file is not None and not has_room(self._file):
            raise ServiceUnavailable("The disk of the database is full.")

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        committing = False
        started, outcome = time.perf_counter(), "rolled_back"
        deadline = asyncio.timeout(_TRANSACTION_SECONDS)
        try:
            async with deadline, self._writers:
                with translated():
                    async with self._engines.writer.connect() as connection:
                        transaction = await connection.begin()
                        yield connection
                        committing = True
                        fault.point("database.transaction.before_commit")
                        with translated(committing=True):
                            await transaction.commit()
                        outcome = "committed"
                        fault.point("database.transaction.after_commit")
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise unavailable("unknown" if committing else "rolled_back") from error
        finally:
            outcome = "unknown" if committing and outcome != "committed" else outcome
            semconv.DATABASE_TRANSACTION_SECONDS.labels(self.schema, outcome).observe(time.perf_counter() - started)


@asynccontextmanager
async def open_database(url: str, *, schema: str) -> AsyncIterator[Database]:
    """The database at url; on Postgres the service's tables are in `schema`.

    Raises ValueError for an unsupported url, UnfitFile for a SQLite file that must not be used.
    Connections are made on first use.
    """
    parsed = parse_url(url)
    dialect: DialectName = "postgresql" if parsed.get_backend_name() == "postgresql" else "sqlite"
    file = Path(str(parsed.database)) if dialect == "sqlite" else None
    if file is not None:
        await asyncio.to_thread(prepare_file, file)
    engines = make_engines(parsed, schema)
    database = Database(engines, dialect, schema, file)
    try:
        async with asyncio.TaskGroup() as tasks:
            for number in range(database.group_loops):
                tasks.create_task(database.groups.run(), name=f"group-commit-{schema}-{number}")
            try:
                yield database
            finally:
                await database.groups.close(database.group_loops)
    finally:
        await _dispose(engines)


async def _dispose(engines: Engines) -> None:
    await engines.writer.dispose()
    await engines.reader.dispose()
    await engines.single.close()


async def retried(attempt: Callable[[], Awaitable[T]]) -> T:
    """The result of the first of five attempts that the database answers, with growing jittered delays.

    Only for what is pure in its inputs. A commit whose outcome is unknown is not repeated.
    """
    for retry in range(_RETRIES - 1):
        try:
            return await attempt()
        except ServiceUnavailable as error:
            if error.metadata.get("outcome") != "rolled_back":
                raise
            await asyncio.sleep(random.uniform(0, _FIRST_RETRY_SECONDS * 4**retry))  # noqa: S311
    return await attempt()
