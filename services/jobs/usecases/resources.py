"""What every use case works with, and how a change is told once it is committed."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from services.jobs.claim_key import ClaimKey
from services.jobs.domain import CANCELLED, DONE, ENDED, FAILED, FETCH, WORK_CLASSES, Policy
from services.jobs.usecases.changes import Changes
from services.jobs.usecases.intake import Intake
from services.mesh import semconv
from services.mesh.database import Database
from services.mesh.egress.addresses import NetworkPolicy
from services.mesh.turns import Turns
from steno.billing.v1.accounts_service_pb2_grpc import AccountsServiceAsyncStub
from steno.billing.v1.billing_service_pb2_grpc import BillingServiceAsyncStub
from steno.jobs.v1.job_pb2 import Job
from steno.storage.v1.datasets_service_pb2_grpc import DatasetsServiceAsyncStub
from steno.storage.v1.storage_service_pb2_grpc import StorageServiceAsyncStub

_ENDINGS = {DONE: "done", FAILED: "failed", CANCELLED: "cancelled"}


@dataclass(frozen=True)
class Resources:
    """The database, the other services, and whom to wake after a commit."""

    database: Database
    policy: Policy
    changes: Changes
    intake: Intake
    claim_key: ClaimKey
    networks: NetworkPolicy
    billing: BillingServiceAsyncStub
    accounts: AccountsServiceAsyncStub
    storage: StorageServiceAsyncStub
    datasets: DatasetsServiceAsyncStub
    wake_relay: Callable[[], None]
    work_waiting: asyncio.Event
    removals_waiting: asyncio.Event
    fetches_waiting: asyncio.Event
    completions: Turns = field(default_factory=Turns)
    orders: Turns = field(default_factory=Turns)

    def announce(self, job: Job) -> None:
        """Tells watchers, the relay and the workers about a committed change."""
        self.changes.publish(job)
        self.wake_relay()
        self.work_waiting.set()
        if job.waiting == FETCH:
            self.fetches_waiting.set()
        if job.state in ENDED:
            state, waited_ms = _ENDINGS[job.state], job.complete_time.ToMilliseconds() - job.create_time.ToMilliseconds()
            semconv.JOBS_ENDED.labels(state).inc()
            semconv.JOB_SECONDS.labels(WORK_CLASSES[job.kind], state).observe(waited_ms / 1000)
        if job.state in (CANCELLED, FAILED):
            self.removals_waiting.set()
