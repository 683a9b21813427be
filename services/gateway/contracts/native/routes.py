"""The native contract's operations, put together."""

from dataclasses import dataclass

from services.gateway.contract import Contract
from services.gateway.contracts.native.account_routes import account_operations, key_operations, payment_operations
from services.gateway.contracts.native.accounts import Accounts
from services.gateway.contracts.native.claims import Claims
from services.gateway.contracts.native.errors import native_errors
from services.gateway.contracts.native.job_routes import job_operations, result_operations
from services.gateway.contracts.native.jobs import Jobs
from services.gateway.contracts.native.payments import Payments
from services.gateway.contracts.native.results import Results
from services.gateway.contracts.native.schemas import IdentityHeaders
from services.gateway.contracts.native.submission import Submission
from services.gateway.contracts.native.submit_routes import submit_operations
from services.gateway.operation import OpenOperation, Operation
from services.gateway.playback import Playback

PREFIXES = ("/api/v1", "/whipscribe/api/v1")


@dataclass(frozen=True)
class Native:
    """The native contract over its parts."""

    submission: Submission
    jobs: Jobs
    claims: Claims
    results: Results
    playback: Playback
    accounts: Accounts
    payments: Payments

    def contract(self, upgrade_url: str) -> Contract:
        """What it can do, and where."""
        operations: list[Operation | OpenOperation] = [
            *submit_operations(self.submission),
            *job_operations(self.jobs, self.claims),
            *result_operations(self.results, self.playback),
            *account_operations(self.accounts),
            *payment_operations(self.payments),
            *key_operations(self.accounts),
        ]
        errors = native_errors(upgrade_url)
        return Contract("native", "Steno", PREFIXES, operations, errors, identity_headers=IdentityHeaders)
