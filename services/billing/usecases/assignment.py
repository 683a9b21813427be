"""Which plan a caller or a wallet is on."""

from sqlmodel.ext.asyncio.session import AsyncSession

from services.billing import domain
from services.billing.store import accounts, ledger, wallets
from services.billing.store.ledger import Writing
from services.billing.usecases.billing import Billing
from services.billing.usecases.ledger import begin_month
from services.billing.usecases.permissions import is_guest_without_wallet
from services.mesh import fault
from services.mesh.database import retried
from services.mesh.identity import Caller
from steno.billing.v1.workspace_pb2 import Plan


async def plan_of(billing: Billing, caller: Caller) -> Plan:
    """The plan that limits a caller. Raises WorkspaceNotFound."""
    if is_guest_without_wallet(caller):
        return billing.plans.get(billing.plans.guest)
    async with billing.database.reading() as session:
        wallet = await accounts.find_wallet(session, caller.payer_id)
    if wallet is None:
        raise domain.WorkspaceNotFound(workspace_id=caller.payer_id)
    return billing.plans.get(wallet.plan)


async def assign_plan(billing: Billing, workspace_id: str, email: str, plan_name: str) -> None:
    """Put a workspace, or a user of it, on a plan. Raises WorkspaceNotFound, UserNotFound, UnknownPlan."""
    if not plan_name:
        raise domain.UnknownPlan(plan="")
    plan = billing.plans.get(plan_name)

    async def assign() -> None:
        async with billing.database.transaction() as session:
            await move(billing, session, await _wallet_id(session, workspace_id, email), plan)
            fault.point("billing.assign_plan.before_commit")

    await retried(assign)


async def _wallet_id(session: AsyncSession, workspace_id: str, email: str) -> str:
    if await accounts.find_wallet(session, workspace_id) is None:
        raise domain.WorkspaceNotFound(workspace_id=workspace_id)
    if not email:
        return workspace_id
    user = await wallets.find_user(session, workspace_id, email)
    if user is None:
        raise domain.UserNotFound(workspace_id=workspace_id)
    return user.id


async def move(billing: Billing, session: AsyncSession, wallet_id: str, plan: Plan) -> None:
    """Put a wallet on a plan; one that includes more adds the difference to this month at once. Raises WorkspaceNotFound."""
    position = await begin_month(billing, session, wallet_id)
    start, _ = domain.period_bounds(position.period)
    granted_ms = await ledger.sum_plan_grants(session, wallet_id, start)
    included_ms = billing.plans.included_ms(plan.name, anonymous=position.anonymous)
    raised = domain.raise_entries(wallet_id, position.period, granted_ms, included_ms)
    await wallets.set_plan(session, wallet_id, plan.name)
    await ledger.write_entries(session, [Writing(wallet_id, position.now, plan.overage_limit_ms, raised)])
