"""Recomputing the ledger."""

from services.billing.store import verification
from services.billing.store.verification import Findings
from services.billing.usecases.billing import Billing

WORKSPACES_AT_ONCE = 100


async def verify_ledger(billing: Billing) -> Findings:
    """Recompute every account from its transfers and compare, some workspaces at a time."""
    findings, last_id = Findings(), ""
    while True:
        async with billing.database.reading() as session:
            workspaces = await verification.list_workspaces(session, last_id, WORKSPACES_AT_ONCE)
            if not workspaces:
                return findings
            findings += await verification.check_workspaces(session, workspaces)
        last_id = workspaces[-1]
