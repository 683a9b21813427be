"""A read and a change of one row on Postgres with row security, beside the same rows without it.

Without fsync, whose wait would hide what is measured.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import cycle
from pathlib import Path

from sqlalchemy import Column, Index, MetaData, Select, String, Table, bindparam, insert, select, text, update

from bench.benchmark import Effort
from bench.report import Row, at_least, compared, interleaved
from services.mesh.database import Database, open_database
from services.mesh.identity import Caller, CallerKind, calling_as
from services.mesh.ids import new_id
from services.mesh.row_security import protection, rows_of
from tests.servers import new_postgres_database, postgres_server

_ROWS = 10_000
_METADATA = MetaData()
_OPEN, _LOCKED = (
    Table(
        name,
        _METADATA,
        Column("id", String, primary_key=True),
        Column("workspace_id", String),
        Column("note", String),
        Index(f"{name}_by_workspace", "workspace_id", "id"),
    )
    for name in ("open", "locked")
)
_CALLERS = tuple(Caller(CallerKind.KEY, "gateway", new_id(), "workspace") for _ in range(2))

Work = Callable[[str], Awaitable[object]]


async def run(effort: Effort, folder: Path) -> Sequence[Row]:
    """Operations a second of one client, on connections that serve one workspace and on such that serve another each time."""
    ids = [new_id() for _ in range(_ROWS)]
    with postgres_server() as server:
        async with open_database(new_postgres_database(server), schema="public") as database:
            await _prepare(database, ids)
            rows: list[Row] = []
            for name, make in {"read": _reading, "change": _changing}.items():
                contenders: Mapping[str, Callable[[], Awaitable[float]]] = {
                    "open": partial(_rate, make(database, _OPEN), ids, (None,), effort.seconds),
                    "one": partial(_rate, make(database, _LOCKED), ids[::2], _CALLERS[:1], effort.seconds),
                    "turns": partial(_rate, make(database, _LOCKED), ids, _CALLERS, effort.seconds),
                }
                rates = await interleaved(effort.rounds, contenders)
                rows += [
                    compared(f"{name} of a row, locked : open, one workspace", "1/s", rates["one"], rates["open"], at_least(0.9)),
                    compared(f"{name} of a row, locked : open, workspaces in turn", "1/s", rates["turns"], rates["open"]),
                ]
            return rows


async def _prepare(database: Database, ids: Sequence[str]) -> None:
    owners = [caller.workspace_id for caller in _CALLERS] * (_ROWS // len(_CALLERS))
    values = [{"id": row, "workspace_id": owner, "note": "x" * 100} for row, owner in zip(ids, owners, strict=True)]
    async with database.transaction() as session:
        connection = await session.connection()
        await connection.run_sync(_METADATA.create_all)
        for table in (_OPEN, _LOCKED):
            await connection.execute(insert(table), values)
        for statement in (*protection(_LOCKED.name, rows_of()), "ANALYZE"):
            await connection.execute(text(statement))


def _reading(database: Database, table: Table) -> Work:
    statement: Select[tuple[str]] = select(table.c.note).where(table.c.id == bindparam("row"))

    async def read(row: str) -> object:
        return await database.read_one(statement, row=row)

    return read


def _changing(database: Database, table: Table) -> Work:
    statement = update(table).where(table.c.id == bindparam("row")).values(note="y" * 100)

    async def change(row: str) -> object:
        async with database.transaction() as session:
            return await (await session.connection()).execute(statement, {"row": row})

    return change


async def _rate(work: Work, ids: Sequence[str], callers: Sequence[Caller | None], seconds: float) -> float:
    """Each caller in its turn asks for a row of its own; None: nobody asks, and no connection is told for whom it works."""
    started = time.perf_counter()
    for done, (row, caller) in enumerate(zip(cycle(ids), cycle(callers), strict=False), start=1):
        with calling_as(caller) if caller else nullcontext():
            await work(row)
        if (spent := time.perf_counter() - started) > seconds:
            return done / spent
    raise AssertionError("no end")
