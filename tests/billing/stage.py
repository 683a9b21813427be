"""Billing's use cases on a real database, with a clock that the test holds."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import bindparam, text

from services.billing import keys
from services.billing.app import MIGRATIONS, SCHEMA
from services.billing.plans import Plans, read_plans
from services.billing.store import accounts as store
from services.billing.store.tables import Workspace
from services.billing.usecases import accounts
from services.billing.usecases.batches import Batches, open_batches
from services.billing.usecases.billing import Billing
from services.mesh.columns import UtcDateTime
from services.mesh.database import open_database
from services.mesh.ids import new_id
from services.mesh.migrations import migrate

MINUTE_MS = 60_000
PEPPER = b"0123456789abcdef0123456789abcdef"
PLANS = """
default = "small"
[plans.small]
tier = "free"
tier_level = 1
included_minutes = 100
overage_minutes = 0
retention_days = 30
max_upload_mebibytes = 100
max_duration_minutes = 60
[plans.guest]
tier = "guest"
tier_level = 0
included_minutes = 30
overage_minutes = 0
retention_days = 3
max_upload_mebibytes = 10
max_duration_minutes = 30
[plans.few]
tier = "free"
tier_level = 1
included_minutes = 100
overage_minutes = 0
monthly_uploads = 50
retention_days = 30
max_upload_mebibytes = 100
max_duration_minutes = 60
[plans.priced]
tier = "paid"
tier_level = 2
included_minutes = 200
overage_minutes = 50
overage_cents_per_minute = 7
retention_days = 365
max_upload_mebibytes = 100
max_duration_minutes = 60
[credit_packs.hour]
title = "One hour"
minutes = 60
price_cents = 500
currency = "eur"
[credit_packs.upgrade]
title = "Two hours and the priced plan"
minutes = 120
price_cents = 900
currency = "eur"
plan = "priced"
[plans.debt]
tier = "paid"
tier_level = 2
included_minutes = 100
overage_minutes = 50
retention_days = 30
max_upload_mebibytes = 100
max_duration_minutes = 60
"""


@dataclass
class Clock:
    """The time that the database is made to tell."""

    now: datetime = datetime(2026, 3, 15, 12, tzinfo=UTC)

    def pass_by(self, **duration: float) -> None:
        """Let time pass."""
        self.now += timedelta(**duration)


@dataclass
class Stage:
    """Billing and what a test needs to look behind it."""

    billing: Billing
    batches: Batches
    clock: Clock
    woken: list[datetime] = field(default_factory=list)

    async def workspace(self, plan: str = "small") -> Workspace:
        """A new workspace."""
        return await accounts.create_workspace(self.billing, "Acoustics lab", plan)

    async def rows(self, statement: str) -> list[tuple[object, ...]]:
        """What a query answers."""
        async with self.billing.database.reading() as session:
            return [tuple(row) for row in await (await session.connection()).execute(text(statement))]

    async def write(self, statement: str) -> None:
        """Run a statement past all use cases."""
        async with self.billing.database.transaction() as session:
            await (await session.connection()).execute(text(statement))

    async def buyer(self, tenant_id: str, token: str) -> str:
        """Id of a new anonymous buyer's wallet."""
        wallet = Workspace(
            id=new_id(),
            parent_id=tenant_id,
            guest_digest=keys.digest(PEPPER, token),
            name="buyer",
            plan="guest",
            create_time=self.clock.now,
            period="2026-03",
        )
        async with self.billing.database.transaction() as session:
            await store.add_workspace(session, wallet)
        return wallet.id


def plans_of(directory: Path, content: str) -> Plans:
    """Plans of a file."""
    path = directory / "plans.toml"
    path.write_text(content)
    return read_plans(path)


@asynccontextmanager
async def open_stage(url: str, directory: Path, clock: Clock | None = None, plans: str = PLANS) -> AsyncIterator[Stage]:
    """A stage on a database that is migrated if it is new."""
    await migrate(url, schema=SCHEMA, script_location=str(MIGRATIONS))
    held, woken = clock or Clock(), list[datetime]()
    sql = bindparam("clock", type_=UtcDateTime(), callable_=lambda: held.now, unique=True)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(url, schema=SCHEMA))
        billing = Billing(database, plans_of(directory, plans), PEPPER, sql, lambda: woken.append(held.now))
        batches = await stack.enter_async_context(open_batches(billing))
        yield Stage(billing, batches, held, woken)
