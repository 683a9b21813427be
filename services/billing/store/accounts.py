"""Queries on workspaces and keys."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, or_, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.billing.domain import Account
from services.billing.store import tables
from services.billing.store.tables import ApiKey, Workspace
from services.mesh.columns import table_of

_workspace, _key = table_of(Workspace), table_of(ApiKey)


async def read_clock(session: AsyncSession, clock: ColumnElement[datetime]) -> datetime:
    """The database's time."""
    return (await session.exec(select(clock))).one()


async def add_workspace(session: AsyncSession, workspace: Workspace) -> None:
    """Store a wallet with its four empty accounts."""
    session.add(workspace)
    await session.flush()
    await add_accounts(session, workspace.id)


async def add_accounts(session: AsyncSession, wallet_id: str) -> None:
    """Store the four empty accounts of a wallet."""
    session.add_all(tables.Account(id=account.of(wallet_id), workspace_id=wallet_id, kind=account.value) for account in Account)
    await session.flush()


async def find_workspace(session: AsyncSession, workspace_id: str) -> Workspace | None:
    """The tenant of this id; wallets of its users and buyers are none."""
    statement = select(Workspace).where(col(Workspace.id) == workspace_id, col(Workspace.parent_id).is_(None))
    return (await session.exec(statement)).one_or_none()


async def find_wallet(session: AsyncSession, wallet_id: str) -> Workspace | None:
    """The wallet of this id: a tenant's, a user's or a buyer's."""
    return await session.get(Workspace, wallet_id)


async def list_plan_names(session: AsyncSession) -> list[str]:
    """The plans that workspaces are on."""
    return list(await session.exec(select(Workspace.plan).distinct()))


async def note_exhaustion(session: AsyncSession, workspace_id: str, now: datetime) -> None:
    """Note that credit ran out."""
    await (await session.connection()).execute(update(_workspace).where(_workspace.c.id == workspace_id).values(exhausted_time=now))


async def add_key(session: AsyncSession, key: ApiKey) -> None:
    """Store a key."""
    session.add(key)
    await session.flush()


async def find_by_digest(session: AsyncSession, digest: str, clock: ColumnElement[datetime]) -> tuple[ApiKey, Workspace, datetime] | None:
    """The key with this keyed hash, its workspace, and the time now."""
    statement = select(ApiKey, Workspace, clock).join(Workspace, col(Workspace.id) == col(ApiKey.workspace_id))
    row = (await session.exec(statement.where(col(ApiKey.digest) == digest))).one_or_none()
    return (row[0], row[1], row[2]) if row else None


async def find_key(session: AsyncSession, workspace_id: str, key_id: str) -> ApiKey | None:
    """The key of this id, if it is the workspace's."""
    statement = select(ApiKey).where(col(ApiKey.id) == key_id, col(ApiKey.workspace_id) == workspace_id)
    return (await session.exec(statement)).one_or_none()


async def list_keys(session: AsyncSession, workspace_id: str, after_id: str | None, limit: int) -> Sequence[ApiKey]:
    """Keys of a workspace that are not revoked, newest first, after an id."""
    statement = select(ApiKey).where(col(ApiKey.workspace_id) == workspace_id, col(ApiKey.revoke_time).is_(None))
    if after_id is not None:
        statement = statement.where(col(ApiKey.id) < after_id)
    return (await session.exec(statement.order_by(col(ApiKey.id).desc()).limit(limit))).all()


async def revoke_key(session: AsyncSession, workspace_id: str, key_id: str, now: datetime) -> bool:
    """End a key of the workspace; says whether it was not ended before."""
    mine = (_key.c.id == key_id, _key.c.workspace_id == workspace_id)
    result = await (await session.connection()).execute(update(_key).where(*mine, _key.c.revoke_time.is_(None)).values(revoke_time=now))
    return bool(result.rowcount)


async def note_uses(session: AsyncSession, uses: dict[str, datetime]) -> None:
    """Store when keys were last used; never moves a time back."""
    connection = await session.connection()
    for key_id, used in sorted(uses.items()):
        older = or_(_key.c.last_use_time.is_(None), _key.c.last_use_time < used)
        await connection.execute(update(_key).where(_key.c.id == key_id, older).values(last_use_time=used))
