"""From rows to protos: the only bridge."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from services.billing.domain import CheckoutState
from services.billing.store import tables
from services.billing.usecases.verification import Findings
from steno.billing.v1.api_key_pb2 import ApiKey
from steno.billing.v1.billing_service_pb2 import VerifyLedgerResponse
from steno.billing.v1.ledger_pb2 import Hold, Transfer
from steno.billing.v1.payments_service_pb2 import Checkout
from steno.billing.v1.user_pb2 import User
from steno.billing.v1.workspace_pb2 import Workspace


def _time(value: datetime | None) -> Timestamp | None:
    if value is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(value)
    return timestamp


def workspace(row: tables.Workspace) -> Workspace:
    """The public part of a workspace."""
    return Workspace(id=row.id, name=row.name, plan=row.plan, create_time=_time(row.create_time))


def api_key(row: tables.ApiKey) -> ApiKey:
    """A key, without the hash of its secret."""
    return ApiKey(
        id=row.id,
        workspace_id=row.workspace_id,
        name=row.name,
        kind=ApiKey.Kind.ValueType(row.kind),
        key_prefix=row.key_prefix,
        scopes=row.scopes,
        create_time=_time(row.create_time),
        expire_time=_time(row.expire_time),
        last_use_time=_time(row.last_use_time),
        revoke_time=_time(row.revoke_time),
        test=row.test,
    )


def user(row: tables.Workspace) -> User:
    """A user."""
    return User(id=row.id, workspace_id=row.parent_id or "", email=row.email or "", plan=row.plan, create_time=_time(row.create_time))


def checkout(row: tables.Checkout) -> Checkout:
    """A purchase."""
    return Checkout(
        id=row.id,
        credit_pack=row.credit_pack,
        state=Checkout.State.Value(f"STATE_{row.state}"),
        url=row.url if row.state == CheckoutState.OPEN else "",
        create_time=_time(row.create_time),
    )


def hold(row: tables.Hold) -> Hold:
    """A hold."""
    return Hold(
        job_id=row.job_id,
        workspace_id=row.workspace_id,
        amount_ms=row.amount_ms,
        settled_ms=row.settled_ms,
        state=Hold.State.Value(f"STATE_{row.state}"),
        create_time=_time(row.create_time),
        expire_time=_time(row.expire_time),
    )


def transfer(row: tables.Transfer) -> Transfer:
    """A transfer."""
    return Transfer(
        id=row.id,
        debit_account=row.debit_account,
        credit_account=row.credit_account,
        amount_ms=row.amount_ms,
        kind=Transfer.Kind.Value(f"KIND_{row.kind}"),
        job_id=row.job_id,
        create_time=_time(row.create_time),
    )


def findings(found: Findings) -> VerifyLedgerResponse:
    """What a check found."""
    return VerifyLedgerResponse(
        imbalance_ms=found.imbalance_ms,
        wrong_account_count=found.wrong_account_count,
        transfer_count=found.transfer_count,
        open_hold_count=found.open_hold_count,
    )
