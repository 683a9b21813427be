"""What must hold before billing serves."""

from services.billing.plans import PlansInvalid
from services.billing.store import accounts
from services.billing.usecases.billing import Billing


async def check_plans(billing: Billing) -> None:
    """Raises PlansInvalid when a workspace is on a plan that the file does not have."""
    async with billing.database.reading() as session:
        missing = billing.plans.missing(await accounts.list_plan_names(session))
    if missing:
        raise PlansInvalid(f"workspaces are on plans that the plans file does not have: {', '.join(missing)}")
