"""The inbox: an event's effect happens once."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import MetaData, func, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from services.mesh.columns import now_utc_sql
from services.mesh.database import Database
from services.mesh.inbox import first_time, inbox_table, prune_inbox

METADATA = MetaData()
INBOX = inbox_table(METADATA)


@pytest.fixture(autouse=True)
async def tables(database: Database) -> None:
    """An empty inbox."""
    async with database.transaction() as session:
        await (await session.connection()).run_sync(METADATA.create_all)


async def entries(database: Database) -> int:
    async with database.reading() as session:
        return int((await (await session.connection()).execute(select(func.count()).select_from(INBOX))).scalar_one())


async def test_an_event_is_new_once_per_consumer(database: Database) -> None:
    async with database.transaction() as session:
        assert await first_time(session, INBOX, "billing", "e1")
        assert not await first_time(session, INBOX, "billing", "e1")
        assert await first_time(session, INBOX, "webhooks", "e1")


async def test_of_many_at_once_one_is_first(database: Database) -> None:
    async def take() -> bool:
        async with database.transaction() as session:
            return await first_time(session, INBOX, "billing", "e1")

    assert sorted(await asyncio.gather(*(take() for _ in range(20)))) == [False] * 19 + [True]


async def test_of_many_grouped_at_once_one_is_first(database: Database) -> None:
    async def take(session: AsyncSession) -> bool:
        return await first_time(session, INBOX, "billing", "e1")

    assert sorted(await asyncio.gather(*(database.grouped(take) for _ in range(20)))) == [False] * 19 + [True]


async def test_a_rolled_back_effect_leaves_the_event_new(database: Database) -> None:
    async def failing() -> None:
        async with database.transaction() as session:
            assert await first_time(session, INBOX, "billing", "e1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await failing()
    async with database.transaction() as session:
        assert await first_time(session, INBOX, "billing", "e1")


async def test_pruning_keeps_what_the_stream_may_still_deliver(database: Database) -> None:
    async with database.transaction() as session:
        for age_days, event_id in ((15, "old"), (13, "young")):
            await first_time(session, INBOX, "billing", event_id)
            old = now_utc_sql(database.dialect, -timedelta(days=age_days))
            await (await session.connection()).execute(update(INBOX).where(INBOX.c.event_id == event_id).values(create_time=old))
        assert await prune_inbox(session, INBOX) == 1
    assert await entries(database) == 1
