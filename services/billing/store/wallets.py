"""Queries on the wallets of users and anonymous buyers."""

from collections.abc import Sequence

from sqlalchemy import update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.billing.store.tables import Workspace
from services.mesh.columns import dialect_of, table_of

_workspace = table_of(Workspace)


async def find_user(session: AsyncSession, tenant_id: str, email: str) -> Workspace | None:
    """The user of this address in a tenant."""
    statement = select(Workspace).where(col(Workspace.parent_id) == tenant_id, col(Workspace.email) == email)
    return (await session.exec(statement)).one_or_none()


async def find_guest(session: AsyncSession, tenant_id: str, digest: str) -> Workspace | None:
    """The buyer's wallet that a token with this keyed hash opens in a tenant."""
    statement = select(Workspace).where(col(Workspace.guest_digest) == digest, col(Workspace.parent_id) == tenant_id)
    return (await session.exec(statement)).one_or_none()


async def read_tenants(session: AsyncSession, wallet_ids: Sequence[str]) -> dict[str, str]:
    """The tenants of wallets, by wallet; a tenant's own wallet has its id."""
    statement = select(Workspace.id, Workspace.parent_id).where(col(Workspace.id).in_(wallet_ids))
    return {wallet_id: parent_id or wallet_id for wallet_id, parent_id in await session.exec(statement)}


async def add_user_once(session: AsyncSession, user: Workspace) -> bool:
    """Store a user, its accounts apart, unless the tenant has one of its address; says whether it did."""
    insert = postgresql.insert(_workspace) if dialect_of(session) == "postgresql" else sqlite.insert(_workspace)
    statement = insert.values(user.model_dump()).on_conflict_do_nothing().returning(_workspace.c.id)
    return (await (await session.connection()).execute(statement)).first() is not None


async def set_plan(session: AsyncSession, wallet_id: str, plan: str) -> None:
    """Put a wallet on a plan."""
    await (await session.connection()).execute(update(_workspace).where(_workspace.c.id == wallet_id).values(plan=plan))
