"""`steno plans`, `steno credit` and `steno workspaces`: the operator's hand in billing, where the identity key is."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from services.client.failures import CommandFailed
from services.mesh.channel import Channel, open_channel
from services.mesh.identity import Caller, CallerKind, TokenSigner, calling_as, load_key
from services.mesh.settings import UnusableSettings, read_settings
from services.mesh.status import RemoteError
from services.mesh.tls.certificates import Certificates, read_certificates
from services.stack.certificates.folder import CertificateFolder
from services.stack.data_directory import DataDirectory
from services.stack.operator_settings import OperatorSettings
from steno.billing.v1.accounts_service_pb2 import AssignPlanRequest
from steno.billing.v1.accounts_service_pb2_grpc import AccountsServiceAsyncStub
from steno.billing.v1.billing_service_pb2 import GrantCreditRequest
from steno.billing.v1.billing_service_pb2_grpc import BillingServiceAsyncStub
from steno.billing.v1.ledger_pb2 import Balance

_TIMEOUT_SECONDS = 15.0
_MS_PER_MINUTE = 60_000
T = TypeVar("T")


@dataclass(frozen=True)
class Access:
    """How to reach billing. Empty means STENO_OPERATOR_*, else what the `steno up` that uses the data directory wrote there."""

    data: Path
    billing_address: str = ""
    identity_key_file: Path | None = None
    certificates: Path | None = None


def run_assign_plan(access: Access, workspace_id: str, plan: str, email: str) -> None:
    """Put a workspace, or a user of it, on a plan. Raises CommandFailed."""
    run_operation(_assign_plan(access, AssignPlanRequest(workspace_id=workspace_id, plan=plan, email=email)))
    print(f"{email or workspace_id} is on the plan {plan}.")


def run_grant_credit(access: Access, wallet_id: str, minutes: int, reference: str) -> None:
    """Add credit to a workspace, user or wallet; the same reference never adds twice. Raises CommandFailed."""
    request = GrantCreditRequest(workspace_id=wallet_id, amount_ms=minutes * _MS_PER_MINUTE, id=reference)
    balance = run_operation(_grant_credit(access, request))
    print(f"{wallet_id} has {balance.available_ms / _MS_PER_MINUTE:.2f} minutes.")


def run_operation(work: Coroutine[Any, Any, T]) -> T:
    """What the work returns. Raises CommandFailed."""
    try:
        return asyncio.run(work)
    except RemoteError as error:
        raise CommandFailed(f"{error.message} ({error.reason_name})" if error.reason_name else error.message) from error
    except (OSError, ValueError, UnusableSettings) as error:
        raise CommandFailed(f"Billing cannot be reached: {error}") from error


async def _assign_plan(access: Access, request: AssignPlanRequest) -> None:
    async with open_billing(access) as channel:
        await AccountsServiceAsyncStub(channel).AssignPlan(request)


async def _grant_credit(access: Access, request: GrantCreditRequest) -> Balance:
    async with open_billing(access) as channel:
        return (await BillingServiceAsyncStub(channel).GrantCredit(request)).balance


@asynccontextmanager
async def open_billing(access: Access) -> AsyncIterator[Channel]:
    """A channel of the operator. Raises OSError, ValueError."""
    data, settings = DataDirectory(access.data), read_settings(OperatorSettings)
    address = access.billing_address or settings.billing_address or _running_address(data)
    signer = TokenSigner(load_key(access.identity_key_file or settings.identity_key_file or data.identity_key), "operator")
    tls = _certificates(access, data) or read_certificates(settings)
    async with open_channel(address, audience="billing", signer=signer, timeout_seconds=_TIMEOUT_SECONDS, tls=tls) as channel:
        with calling_as(Caller(CallerKind.OPERATOR, "operator")):
            yield channel


def _certificates(access: Access, data: DataDirectory) -> Certificates | None:
    """Those that the command line names, else those of the `steno up --tls` that uses the data directory. Raises CertificateUnusable."""
    if access.certificates is not None:
        return CertificateFolder(access.certificates).open("operator")
    running = json.loads(data.addresses.read_text()) if data.addresses.exists() and not access.billing_address else {}
    return CertificateFolder(data.certificates).open("operator") if running.get("tls") else None


def _running_address(data: DataDirectory) -> str:
    if not data.addresses.exists():
        raise ValueError(f"no `steno up` runs on {data.root}; start it, or give --data or --billing-address")
    return str(json.loads(data.addresses.read_text())["billing"])
