"""Transactions, snapshots and group commit on both databases."""

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import bindparam, func, insert, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.mesh import sqlite_file
from services.mesh.columns import UtcDateTime, now_utc_sql, table_of, table_registry
from services.mesh.database import Database, open_database, retried
from services.mesh.errors import ServiceUnavailable


class Table(SQLModel, registry=table_registry()):
    """Tables of this test."""


class Account(Table, table=True):
    """A balance."""

    id: int = Field(primary_key=True)
    balance: int = 0
    change_time: datetime | None = Field(default=None, sa_type=UtcDateTime)


@pytest.fixture(autouse=True)
async def accounts(database: Database) -> None:
    """An account with the id 1 and nothing on it."""
    async with database.transaction() as session:
        await (await session.connection()).run_sync(Table.metadata.create_all)
        session.add(Account(id=1))


async def balance(database: Database, account_id: int = 1) -> int | None:
    async with database.reading() as session:
        return (await session.exec(select(Account.balance).where(Account.id == account_id))).one_or_none()


async def count(database: Database) -> int:
    async with database.reading() as session:
        return (await session.exec(select(func.count()).select_from(Account))).one()


async def read_modify_write(session: AsyncSession) -> None:
    account = (await session.exec(select(Account).where(Account.id == 1).with_for_update())).one()
    await asyncio.sleep(0)
    account.balance += 1


async def test_concurrent_changes_are_not_lost(database: Database) -> None:
    async def worker() -> None:
        for _ in range(50):
            async with database.transaction() as session:
                await read_modify_write(session)

    await asyncio.gather(*(worker() for _ in range(8)))
    assert await balance(database) == 400


async def test_concurrent_changes_of_two_processes_worth_of_engines_are_not_lost(database: Database, database_url: str) -> None:
    async def worker(each: Database) -> None:
        for _ in range(50):
            async with each.transaction() as session:
                await read_modify_write(session)

    async with open_database(database_url, schema="public") as other:
        await asyncio.gather(worker(database), worker(other))
    assert await balance(database) == 100


async def test_concurrent_grouped_changes_are_not_lost(database: Database) -> None:
    async def worker() -> None:
        for _ in range(50):
            await database.grouped(read_modify_write)

    await asyncio.gather(*(worker() for _ in range(8)))
    assert await balance(database) == 400


async def test_an_exception_rolls_back(database: Database) -> None:
    async def failing() -> None:
        async with database.transaction() as session:
            session.add(Account(id=2))
            await session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await failing()
    assert await balance(database, 2) is None


async def test_a_cancelled_transaction_rolls_back_and_frees_the_writer(database: Database) -> None:
    entered = asyncio.Event()

    async def interrupted() -> None:
        async with database.transaction() as session:
            session.add(Account(id=2))
            await session.flush()
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(interrupted())
    await entered.wait()
    task.cancel()
    await asyncio.wait([task])
    async with asyncio.timeout(60), database.transaction() as session:
        session.add(Account(id=3))
    assert await balance(database, 2) is None
    assert await balance(database, 3) == 0


async def test_a_broken_constraint_stays_an_integrity_error(database: Database) -> None:
    with pytest.raises(IntegrityError):
        async with database.transaction() as session:
            session.add(Account(id=1))


async def test_one_bad_unit_of_a_group_fails_alone(database: Database) -> None:
    async def add(session: AsyncSession, account_id: int) -> int:
        await (await session.connection()).execute(insert(table_of(Account)).values(id=account_id, balance=0))
        if account_id == 7:
            raise ZeroDivisionError
        return account_id

    ids = [2, 3, 1, 4, 7, 5]
    answers = await asyncio.gather(*(database.grouped(lambda session, i=i: add(session, i)) for i in ids), return_exceptions=True)  # type: ignore[misc]
    assert [answer for answer in answers if isinstance(answer, int)] == [2, 3, 4, 5]
    assert [type(answer) for answer in answers if isinstance(answer, Exception)] == [IntegrityError, ZeroDivisionError]
    assert await count(database) == 5


async def test_a_group_is_seen_only_after_its_commit(database: Database) -> None:
    seen_inside: list[int] = []

    async def unit(session: AsyncSession) -> None:
        session.add(Account(id=2 + len(seen_inside)))
        await session.flush()
        seen_inside.append(await count(database))

    await asyncio.gather(*(database.grouped(unit) for _ in range(5)))
    assert seen_inside[0] == 1
    assert await count(database) == 6


async def test_an_object_of_one_unit_survives_the_failure_of_the_next(database: Database) -> None:
    async def good(session: AsyncSession) -> Account:
        account = (await session.exec(select(Account).where(Account.id == 1).with_for_update())).one()
        account.balance = 5
        return account

    async def bad(session: AsyncSession) -> None:
        account = (await session.exec(select(Account).where(Account.id == 1).with_for_update())).one()
        account.balance = 9
        await session.flush()
        raise ZeroDivisionError

    kept, failed = await asyncio.gather(database.grouped(good), database.grouped(bad), return_exceptions=True)
    assert isinstance(failed, ZeroDivisionError)
    assert isinstance(kept, Account)
    assert kept.balance == 5
    assert await balance(database) == 5


async def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    async with database.transaction() as session:
        session.add(Account(id=2))
        await session.flush()
        started = time.monotonic()
        assert await count(database) == 1
        assert time.monotonic() - started < 4.5, "the writer's lock was waited out"
    assert await count(database) == 2


async def test_a_reading_session_cannot_write(database: Database) -> None:
    async with database.reading() as session:
        session.add(Account(id=2))
        with pytest.raises(DBAPIError, match=r"readonly|read-only"):
            await session.flush()


async def test_a_reading_session_sees_one_state(database: Database) -> None:
    async with database.reading() as session:
        before = (await session.exec(select(func.count()).select_from(Account))).one()
        async with database.transaction() as writing:
            writing.add(Account(id=2))
        assert (await session.exec(select(func.count()).select_from(Account))).one() == before


_BY_ID = table_of(Account).select().where(table_of(Account).c.id == bindparam("id"))


async def test_a_single_read_sees_what_is_committed_and_waits_for_no_writer(database: Database) -> None:
    moment = datetime(2026, 2, 3, 4, 5, 6, 789_000, UTC)
    async with database.transaction() as session:
        session.add(Account(id=2, balance=7, change_time=moment))
        await session.flush()
        assert await asyncio.wait_for(database.read_one(_BY_ID, id=2), 1) is None
    row = await database.read_one(_BY_ID, id=2)
    assert row is not None
    assert (row.id, row.balance, row.change_time) == (2, 7, moment)


async def test_more_single_reads_than_connections_are_all_answered(database: Database) -> None:
    rows = await asyncio.gather(*(database.read_all(_BY_ID, id=number % 2) for number in range(100)))
    assert [len(found) for found in rows] == [0, 1] * 50


async def test_times_come_back_aware_exact_and_in_order(database: Database) -> None:
    moment = datetime(2026, 3, 29, 1, 30, 0, 123_456, tzinfo=timezone(timedelta(hours=2)))
    async with database.transaction() as session:
        session.add(Account(id=2, change_time=moment))
        session.add(Account(id=3, change_time=moment + timedelta(microseconds=1)))
    async with database.reading() as session:
        later = (await session.exec(select(Account).where(Account.change_time > moment))).all()  # type: ignore[operator]
        same = (await session.exec(select(Account.change_time).where(Account.id == 2))).one()
    assert [account.id for account in later] == [3]
    assert same == moment
    assert same is not None
    assert same.tzinfo is UTC


async def test_a_time_without_zone_is_refused(database: Database) -> None:
    with pytest.raises(Exception, match="zone"):
        async with database.transaction() as session:
            await (await session.connection()).execute(insert(table_of(Account)).values(id=2, balance=0, change_time=datetime(2026, 1, 1)))  # noqa: DTZ001


async def test_the_databases_clock_can_be_stored_shifted_and_compared(database: Database) -> None:
    now = now_utc_sql(database.dialect)
    async with database.transaction() as session:
        connection = await session.connection()
        await connection.execute(update(table_of(Account)).values(change_time=now_utc_sql(database.dialect, timedelta(seconds=30))))
    async with database.reading() as session:
        expired = (await session.exec(select(Account.id).where(Account.change_time < now))).all()
        clock, lease = (await session.exec(select(now, Account.change_time))).one()
    assert expired == []
    assert lease is not None
    assert timedelta(seconds=25) < lease - clock <= timedelta(seconds=30)
    assert abs(clock - datetime.now(UTC)) < timedelta(seconds=5)


async def test_sqlite_and_postgres_are_set_to_keep_what_they_commit(database: Database) -> None:
    sqlite = {
        "PRAGMA synchronous": 2,
        "PRAGMA journal_mode": "wal",
        "PRAGMA foreign_keys": 1,
        "PRAGMA secure_delete": 1,
        "PRAGMA trusted_schema": 0,
    }
    postgres = {"SHOW synchronous_commit": "on", "SHOW statement_timeout": "15s", "SHOW lock_timeout": "5s"}
    async with database.transaction() as session:
        connection = await session.connection()
        for statement, expected in (sqlite if database.dialect == "sqlite" else postgres).items():
            assert (await connection.execute(text(statement))).scalar() == expected


async def test_check_tells_a_database_that_is_away(database: Database, postgres_url: str) -> None:
    await database.check()
    async with open_database(postgres_url.replace("/postgres?", "/nowhere?"), schema="public") as away:
        with pytest.raises(ServiceUnavailable):
            await away.check()


async def test_check_tells_a_disk_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_database(f"sqlite+aiosqlite:///{tmp_path / 'steno.db'}", schema="public") as database:
        await database.check()
        monkeypatch.setattr(sqlite_file, "_FREE_BYTES_NEEDED", 2**62)
        with pytest.raises(ServiceUnavailable):
            await database.check()


async def test_retried_repeats_what_was_rolled_back() -> None:
    tries: list[int] = []

    async def attempt() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise ServiceUnavailable(outcome="rolled_back")
        return len(tries)

    assert await retried(attempt) == 3


async def test_retried_does_not_repeat_an_unknown_commit() -> None:
    tries: list[int] = []

    async def attempt() -> None:
        tries.append(1)
        raise ServiceUnavailable(outcome="unknown")

    with pytest.raises(ServiceUnavailable):
        await retried(attempt)
    assert len(tries) == 1


async def test_a_memory_database_is_refused() -> None:
    with pytest.raises(ValueError, match="in-memory"):
        async with open_database("sqlite+aiosqlite://", schema="public"):
            pass


async def test_rows_can_be_streamed_one_many_and_all(database: Database) -> None:
    async with database.transaction() as session:
        connection = await session.connection()
        await connection.execute(insert(table_of(Account)), [{"id": number, "balance": number} for number in range(2, 101)])
    async with database.reading() as session:
        rows = await (await session.connection()).stream(select(Account.id).order_by(col(Account.id)))
        first, ten = await rows.fetchone(), await rows.fetchmany(10)
        rest = await rows.fetchall()
    assert [row.id for row in (first, *ten, *rest) if row is not None] == list(range(1, 101))


async def test_a_clock_that_is_set_back_does_not_set_back_the_times_of_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = datetime.now(UTC) + timedelta(days=1)
    now = select(now_utc_sql("sqlite").label("now"))
    async with AsyncExitStack() as stack:
        with monkeypatch.context() as before_the_step:
            before_the_step.setattr(time, "time", right.timestamp)
            database = await stack.enter_async_context(open_database(f"sqlite+aiosqlite:///{tmp_path}/clock.db", schema="clock"))
        async with database.transaction() as session:
            written = (await (await session.connection()).execute(now)).scalar_one()
        [row] = await database.read_all(now)
    assert timedelta(0) <= written - right < timedelta(minutes=5)
    assert timedelta(0) <= row.now - right < timedelta(minutes=5)
