"""Workspaces and their keys."""

from collections.abc import Sequence
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from services.billing import domain, keys
from services.billing.store import accounts, ledger
from services.billing.store.ledger import Writing
from services.billing.store.tables import ApiKey, Workspace, outbox
from services.billing.usecases.billing import Billing
from services.mesh import fault
from services.mesh.errors import InvalidField
from services.mesh.ids import is_id, new_id
from services.mesh.outbox import publish_later
from services.mesh.streams import event_subject
from steno.billing.v1.billing_events_pb2 import KeyRevoked
from steno.billing.v1.workspace_pb2 import Plan


async def create_workspace(billing: Billing, name: str, plan_name: str) -> Workspace:
    """Make a workspace and grant it the first month of its plan; names need not differ. Raises UnknownPlan."""
    plan = billing.plans.get(plan_name)
    async with billing.database.transaction() as session:
        now = await accounts.read_clock(session, billing.clock)
        period = domain.period_of(now)
        workspace = Workspace(id=new_id(), name=name, plan=plan.name, create_time=now, period=period)
        await accounts.add_workspace(session, workspace)
        await grant_first_month(session, workspace, plan)
        fault.point("billing.create_workspace.before_commit")
    fault.point("billing.create_workspace.after_commit")
    return workspace


async def grant_first_month(session: AsyncSession, wallet: Workspace, plan: Plan) -> None:
    """Grant a new wallet the credit of the month that it was made in."""
    if plan.included_ms:
        grant = domain.grant_entry(wallet.id, wallet.period, plan.included_ms)
        await ledger.write_entries(session, [Writing(wallet.id, wallet.create_time, 0, [grant])])


async def get_workspace(billing: Billing, workspace_id: str) -> Workspace:
    """A workspace. Raises WorkspaceNotFound."""
    async with billing.database.reading() as session:
        workspace = await accounts.find_workspace(session, workspace_id)
    if workspace is None:
        raise domain.WorkspaceNotFound(workspace_id=workspace_id)
    return workspace


async def create_key(
    billing: Billing,
    workspace_id: str,
    name: str,
    *,
    kind: int,
    scopes: Sequence[str],
    expire_time: datetime | None,
    test: bool,
) -> tuple[ApiKey, str]:
    """Make a key; answers it with its secret, which is kept nowhere. Raises WorkspaceNotFound, InvalidField."""
    secret = keys.new_secret(test=test)
    async with billing.database.transaction() as session:
        if await accounts.find_workspace(session, workspace_id) is None:
            raise domain.WorkspaceNotFound(workspace_id=workspace_id)
        now = await accounts.read_clock(session, billing.clock)
        if expire_time is not None and expire_time <= now:
            raise InvalidField("The key would have expired already.", field="expire_time")
        key = ApiKey(
            id=new_id(),
            workspace_id=workspace_id,
            name=name,
            kind=kind,
            digest=keys.digest(billing.pepper, secret),
            key_prefix=keys.shown_prefix(secret),
            scopes=list(scopes),
            test=test,
            create_time=now,
            expire_time=expire_time,
        )
        await accounts.add_key(session, key)
        fault.point("billing.create_key.before_commit")
    fault.point("billing.create_key.after_commit")
    return key, secret


async def list_keys(billing: Billing, workspace_id: str, after_id: str | None, limit: int) -> Sequence[ApiKey]:
    """Keys of a workspace that are not revoked, newest first."""
    async with billing.database.reading() as session:
        return await accounts.list_keys(session, workspace_id, after_id, limit)


async def revoke_key(billing: Billing, workspace_id: str, key_id: str) -> None:
    """End a key and tell the mesh; ending it again changes nothing. Raises ApiKeyNotFound."""
    async with billing.database.transaction() as session:
        if not is_id(key_id) or await accounts.find_key(session, workspace_id, key_id) is None:
            raise domain.ApiKeyNotFound
        now = await accounts.read_clock(session, billing.clock)
        if await accounts.revoke_key(session, workspace_id, key_id, now):
            event = KeyRevoked(api_key_id=key_id, workspace_id=workspace_id)
            await publish_later(session, outbox, event_subject("billing", KeyRevoked), event)
        fault.point("billing.revoke_key.before_commit")
    fault.point("billing.revoke_key.after_commit")
    billing.wake_relay()
