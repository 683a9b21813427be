"""Users and anonymous buyers of a workspace: found by what they proved."""

from services.billing import domain, keys
from services.billing.store import accounts, wallets
from services.billing.store.tables import Workspace
from services.billing.usecases.accounts import grant_first_month
from services.billing.usecases.billing import Billing
from services.mesh import fault
from services.mesh.database import retried
from services.mesh.errors import ServiceUnavailable
from services.mesh.ids import new_id


async def resolve_user(billing: Billing, workspace_id: str, email: str) -> Workspace:
    """The user of an address in lower case, made at first sight. Raises WorkspaceNotFound."""
    async with billing.database.reading() as session:
        found = await wallets.find_user(session, workspace_id, email)
    return found if found is not None else await retried(lambda: _make_user(billing, workspace_id, email))


async def _make_user(billing: Billing, workspace_id: str, email: str) -> Workspace:
    plan = billing.plans.get(billing.plans.user)
    async with billing.database.transaction() as session:
        if await accounts.find_workspace(session, workspace_id) is None:
            raise domain.WorkspaceNotFound(workspace_id=workspace_id)
        now = await accounts.read_clock(session, billing.clock)
        period = domain.period_of(now)
        user = Workspace(id=new_id(), parent_id=workspace_id, email=email, name=email, plan=plan.name, create_time=now, period=period)
        if await wallets.add_user_once(session, user):
            await accounts.add_accounts(session, user.id)
            await grant_first_month(session, user, plan)
            fault.point("billing.make_user.before_commit")
            return user
        # Somebody was faster and has committed: the conflict waited for that.
        winner = await wallets.find_user(session, workspace_id, email)
    if winner is None:
        raise ServiceUnavailable("The user was made and removed meanwhile.", outcome="rolled_back")
    return winner


async def resolve_guest(billing: Billing, workspace_id: str, token: str) -> Workspace:
    """The buyer's wallet that a token opens. Raises InvalidGuestToken."""
    if not keys.is_plausible_guest_token(token):
        raise domain.InvalidGuestToken
    async with billing.database.reading() as session:
        wallet = await wallets.find_guest(session, workspace_id, keys.digest(billing.pepper, token))
    if wallet is None:
        raise domain.InvalidGuestToken
    return wallet
