"""Calls to the services that jobs depends on."""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from services.jobs.domain import NoCredits
from services.jobs.usecases.access import is_anonymous
from services.jobs.usecases.resources import Resources
from services.mesh.errors import ServiceUnavailable
from services.mesh.identity import Caller
from services.mesh.status import RemoteError
from services.mesh.telemetry import get_logger
from steno.billing.v1.accounts_service_pb2 import GetPlanRequest, GetWorkspaceRequest
from steno.billing.v1.billing_service_pb2 import GetBalanceRequest, ReleaseRequest, ReserveRequest
from steno.billing.v1.workspace_pb2 import Plan

CREDIT_REASONS = frozenset({"NO_CREDITS", "UPLOAD_LIMIT_EXCEEDED"})
_LONGEST_RETENTION_DAYS = 365
NO_ANSWER = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})


@contextmanager
def reaching(service: str) -> Iterator[None]:
    """Refusals pass through; no answer becomes ServiceUnavailable with the service's name."""
    try:
        yield
    except RemoteError as error:
        if error.code in NO_ANSWER:
            raise ServiceUnavailable(service=service) from error
        raise


async def plan_of_caller(resources: Resources) -> Plan:
    """The plan that the caller in hand is on. Raises ServiceUnavailable."""
    with reaching("billing"):
        return (await resources.accounts.GetPlan(GetPlanRequest())).plan


async def check_credit(resources: Resources, caller: Caller, plan: Plan) -> None:
    """Raises NoCredits for a caller that could not pay a millisecond, ServiceUnavailable.

    plan: the caller's; a guest without a wallet is paid for by its workspace, so that what that one may overdraw counts.
    """
    with reaching("billing"):
        if is_anonymous(caller):
            plan = (await resources.accounts.GetWorkspace(GetWorkspaceRequest())).plan
        balance = (await resources.billing.GetBalance(GetBalanceRequest())).balance
    if balance.available_ms + plan.overage_limit_ms < 1:
        raise NoCredits(available_ms=str(balance.available_ms), required_ms="1")


async def reserve(resources: Resources, job_id: str, amount_ms: int) -> Plan:
    """Puts credit of the caller in hand on hold; the plan of who pays. Raises billing's refusals, ServiceUnavailable."""
    with reaching("billing"):
        answer = await resources.billing.Reserve(ReserveRequest(job_id=job_id, amount_ms=amount_ms))
    # A billing of the release before answers no plan.
    return answer.plan if answer.HasField("plan") else Plan(retention_days=_LONGEST_RETENTION_DAYS)


async def release(resources: Resources, job_id: str) -> None:
    """Gives a hold back. When that fails, reconciling does it later."""
    try:
        await resources.billing.Release(ReleaseRequest(job_id=job_id))
    except RemoteError as error:
        get_logger("jobs.peers").warning("hold not released", job_id=job_id, reason=error.reason_name)
