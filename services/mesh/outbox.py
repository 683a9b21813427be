"""The outbox: events stored in the transaction of their cause, and the relay that publishes them."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple

from google.protobuf.message import Message
from sqlalchemy import (
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    Select,
    Table,
    Text,
    Update,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from services.mesh import fault, semconv
from services.mesh.bulk import Insert, insert_many, many_rows
from services.mesh.bus import MAX_PAYLOAD_BYTES, Bus
from services.mesh.columns import DialectName, UtcDateTime, dialect_of, now_utc_sql
from services.mesh.database import Database
from services.mesh.errors import MeshError, ServiceUnavailable, Unavailable
from services.mesh.ids import new_id
from services.mesh.telemetry import get_logger
from services.mesh.tracing.spans import current_parent

_WINDOW = 256
_POLL_SECONDS = 0.25
_LONGEST_DELAY_SECONDS = 30.0
_MEASURE_SECONDS = 5.0
_MEASURES_PER_PRUNE = 720
_KEEP = timedelta(days=7)


def outbox_table(metadata: MetaData) -> Table:
    """The table `outbox` of a service."""
    table = Table(
        "outbox",
        metadata,
        Column("id", Text, primary_key=True),
        Column("create_time", UtcDateTime, nullable=False),
        Column("subject", Text, nullable=False),
        Column("message_type", Text, nullable=False),
        Column("payload", LargeBinary, nullable=False),
        Column("trace_parent", Text, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("next_time", UtcDateTime, nullable=False),
        Column("sent_time", UtcDateTime, nullable=True),
    )
    unsent = table.c.sent_time.is_(None)
    Index("ix_outbox_unsent", table.c.id, sqlite_where=unsent, postgresql_where=unsent)
    Index("ix_outbox_sent", table.c.sent_time, sqlite_where=~unsent, postgresql_where=~unsent)
    return table


async def publish_later(
    session: AsyncSession, outbox: Table, subject: str, message: Message, *, event_id: str | None = None, trace_parent: str = ""
) -> str:
    """Publish the message if and only if the caller's transaction commits; returns the event's id.

    Wake the relay after the commit. trace_parent: of the trace that it belongs to, if not the one in hand.
    Raises ValueError when the message is too large for the bus.
    """
    now = now_utc_sql(dialect_of(session))
    row = _row(subject, message, event_id or new_id(), trace_parent or current_parent())
    await (await session.connection()).execute(insert(outbox).values(create_time=now, next_time=now, **row))
    fault.point("outbox.event.after_insert")
    return str(row["id"])


async def publish_all_later(
    session: AsyncSession, outbox: Table, events: Sequence[tuple[str, Message]], trace_parents: Sequence[str] = ()
) -> None:
    """As `publish_later`, of many events, each with its subject, by one statement. trace_parents: one for each event, or none."""
    dialect = dialect_of(session)
    parents = trace_parents or [current_parent()] * len(events)
    rows = [_row(subject, message, new_id(), parent) for (subject, message), parent in zip(events, parents, strict=True)]
    if rows:
        await (await session.connection()).execute(_insert_events(outbox, dialect), many_rows(rows, dialect))


@cache
def _insert_events(outbox: Table, dialect: DialectName) -> Insert:
    now = now_utc_sql(dialect)
    names = ("id", "subject", "message_type", "payload", "trace_parent", "attempts")
    return insert_many(outbox, names, dialect, create_time=now, next_time=now)


def _row(subject: str, message: Message, event_id: str, trace_parent: str) -> dict[str, Any]:
    payload = message.SerializeToString()
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"{message.DESCRIPTOR.full_name} has {len(payload)} bytes; events carry ids, not content")
    return {
        "id": event_id,
        "subject": subject,
        "message_type": message.DESCRIPTOR.full_name,
        "payload": payload,
        "trace_parent": trace_parent,
        "attempts": 0,
    }


@dataclass(frozen=True)
class Backlog:
    """Events committed and not yet published."""

    depth: int
    oldest_seconds: float


class _Result(NamedTuple):
    event_id: str
    attempts: int
    error: MeshError | None


class OutboxRelay:
    """Publishes committed events, a window at a time, until the bus has each of them."""

    def __init__(self, database: Database, outbox: Table, bus: Bus) -> None:
        self._database = database
        self._outbox = outbox
        self._bus = bus
        self._woken = asyncio.Event()
        self._logger = get_logger("mesh.outbox")
        self._due_events = _due_events(outbox, database.dialect)
        self._mark_sent = _mark_sent(outbox, database.dialect)

    def wake(self) -> None:
        """There is something new: call after the commit."""
        self._woken.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Relay until stopping."""
        async with asyncio.TaskGroup() as tasks:
            keeper = tasks.create_task(self._keep(), name="outbox-keep")
            waker = tasks.create_task(self._wake_when(stopping), name="outbox-stop")
            while not stopping.is_set():
                self._woken.clear()
                if await self._turn() < _WINDOW:
                    await self._rest()
            keeper.cancel()
            waker.cancel()

    async def _turn(self) -> int:
        try:
            if not await self._bus.connected(_POLL_SECONDS):
                return 0
            return await self.relay_window()
        except ServiceUnavailable as error:
            self._logger.warning("outbox not relayed", service=self._database.schema, error=str(error))
            return 0

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(_POLL_SECONDS):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _wake_when(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self._woken.set()

    async def relay_window(self) -> int:
        """Publish the oldest due events; returns how many were published."""
        count = await (self._relay_alone() if self._database.dialect == "sqlite" else self._relay_locked())
        if count:
            fault.point("outbox.relay.after_commit")
        return count

    async def _relay_locked(self) -> int:
        # The row locks keep other replicas' relays away and vanish with a killed process; nobody else waits for them.
        async with self._database.transaction() as session:
            due = (await (await session.connection()).execute(self._due_events)).all()
            return await self._record(session, await self._publish(due))

    async def _relay_alone(self) -> int:
        rows = await self._database.read_all(self._due_events)
        if not rows:
            return 0
        results = await self._publish(rows)
        async with self._database.transaction() as session:
            return await self._record(session, results)

    async def _publish(self, rows: Sequence[Row[Any]]) -> list[_Result]:
        errors = await asyncio.gather(*(self._publish_one(row) for row in rows))
        return [_Result(row.id, row.attempts, error) for row, error in zip(rows, errors, strict=True)]

    async def _publish_one(self, row: Row[Any]) -> MeshError | None:
        try:
            fault.point("outbox.event.before_publish")
            await self._bus.send(row.subject, row.message_type, row.payload, event_id=row.id, trace_parent=row.trace_parent)
        except MeshError as error:
            return error
        fault.point("outbox.event.after_publish")
        return None

    async def _record(self, session: AsyncSession, results: list[_Result]) -> int:
        connection = await session.connection()
        box = self._outbox
        sent = [result.event_id for result in results if result.error is None]
        if sent:
            fault.point("outbox.relay.before_mark")
            await connection.execute(self._mark_sent, {"ids": sent})
            fault.point("outbox.relay.before_commit")
        for result in results:
            # A bus that is away is no fault of the event: it goes first when the bus is back.
            if result.error is not None and not _is_away(result.error):
                later = now_utc_sql(self._database.dialect, _delay(result.attempts))
                await connection.execute(
                    update(box).where(box.c.id == result.event_id).values(attempts=box.c.attempts + 1, next_time=later)
                )
        self._note_failures(results)
        return len(sent)

    def _note_failures(self, results: list[_Result]) -> None:
        errors = [result.error for result in results if result.error is not None]
        if errors:
            self._logger.warning("events not published", service=self._database.schema, count=len(errors), error=str(errors[0]))

    async def backlog(self) -> Backlog:
        """How many events wait, and for how long the oldest has."""
        box = self._outbox.c
        waiting = select(func.count(), func.min(box.create_time), now_utc_sql(self._database.dialect)).where(box.sent_time.is_(None))
        async with self._database.reading() as session:
            depth, oldest, now = (await (await session.connection()).execute(waiting)).one()
        return Backlog(depth, (now - oldest).total_seconds() if oldest else 0.0)

    async def prune(self) -> int:
        """Delete what was sent more than seven days ago; returns how many."""
        limit = now_utc_sql(self._database.dialect, -_KEEP)
        async with self._database.transaction() as session:
            connection = await session.connection()
            return (await connection.execute(delete(self._outbox).where(self._outbox.c.sent_time < limit))).rowcount

    async def _keep(self) -> None:
        while True:
            try:
                await self.prune()
                for _ in range(_MEASURES_PER_PRUNE):
                    backlog = await self.backlog()
                    semconv.OUTBOX_DEPTH.labels(self._database.schema).set(backlog.depth)
                    semconv.OUTBOX_AGE_SECONDS.labels(self._database.schema).set(backlog.oldest_seconds)
                    await asyncio.sleep(_MEASURE_SECONDS)
            except ServiceUnavailable as error:
                self._logger.warning("outbox not measured", service=self._database.schema, error=str(error))
                await asyncio.sleep(_MEASURE_SECONDS)


def _due_events(outbox: Table, dialect: DialectName) -> Select[Any]:
    box = outbox.c
    return (
        select(box.id, box.subject, box.message_type, box.payload, box.trace_parent, box.attempts)
        .where(box.sent_time.is_(None), box.next_time <= now_utc_sql(dialect))
        .order_by(box.id)
        .limit(_WINDOW)
        .with_for_update(skip_locked=True)
    )


def _mark_sent(outbox: Table, dialect: DialectName) -> Update:
    sent = outbox.c.id.in_(bindparam("ids", expanding=True))
    return update(outbox).where(sent).values(sent_time=now_utc_sql(dialect))


def _is_away(error: MeshError) -> bool:
    return isinstance(error, Unavailable) and "bus_error" not in error.metadata


def _delay(attempts: int) -> timedelta:
    longest = min(0.25 * 2 ** min(attempts, 10), _LONGEST_DELAY_SECONDS)
    return timedelta(seconds=longest * random.uniform(0.5, 1.0))  # noqa: S311
