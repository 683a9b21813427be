"""The composition root of jobs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from google.protobuf.descriptor import ServiceDescriptor

from services.jobs.claim_key import read_claim_key
from services.jobs.events import consume_detections, consume_results
from services.jobs.rpc.detection_jobs import DetectionJobsRpc
from services.jobs.rpc.jobs import JobsRpc
from services.jobs.rpc.work import WorkRpc
from services.jobs.settings import JobsSettings
from services.jobs.store.tables import outbox
from services.jobs.usecases.changes import Changes
from services.jobs.usecases.cleanup import remove_due
from services.jobs.usecases.completion import expire_uploads
from services.jobs.usecases.intake import open_intake
from services.jobs.usecases.read import poll_watched
from services.jobs.usecases.resources import Resources
from services.jobs.usecases.sweep import tidy
from services.jobs.workers import AudioExpirer, Dispatcher, Fetcher, OrphanFinder, Reconciler, Sweeper, drain, repeat
from services.mesh.api_keys import open_authentication
from services.mesh.bus import Bus, open_bus
from services.mesh.channel import Channel, open_channel
from services.mesh.database import Database, open_database
from services.mesh.health import watch_health
from services.mesh.identity import TokenSigner, TokenVerifier, load_key
from services.mesh.lifecycle import Lifecycle
from services.mesh.migrations import prepare_schema
from services.mesh.outbox import OutboxRelay
from services.mesh.server import Registration, open_server
from services.mesh.tls.certificates import Certificates, open_certificates
from steno.billing.v1 import accounts_service_pb2, billing_service_pb2
from steno.billing.v1.accounts_service_pb2_grpc import AccountsServiceStub
from steno.billing.v1.billing_service_pb2_grpc import BillingServiceStub
from steno.jobs.v1 import detection_jobs_service_pb2, jobs_service_pb2, work_service_pb2
from steno.jobs.v1.detection_jobs_service_pb2_grpc import add_DetectionJobsServiceServicer_to_server
from steno.jobs.v1.jobs_service_pb2_grpc import add_JobsServiceServicer_to_server
from steno.jobs.v1.work_service_pb2_grpc import add_WorkServiceServicer_to_server
from steno.storage.v1 import datasets_service_pb2, storage_service_pb2
from steno.storage.v1.datasets_service_pb2_grpc import DatasetsServiceStub
from steno.storage.v1.storage_service_pb2_grpc import StorageServiceStub

SCHEMA = "jobs"
MIGRATIONS = str(Path(__file__).with_name("migrations"))


@asynccontextmanager
async def app(settings: JobsSettings, lifecycle: Lifecycle) -> AsyncIterator[None]:
    """Jobs, serving until left."""
    await prepare_schema(settings.database_url, schema=SCHEMA, script_location=MIGRATIONS, profile=settings.profile)
    key = load_key(settings.identity_key_file)
    async with AsyncExitStack() as stack:
        tls = await stack.enter_async_context(open_certificates(settings))
        database = await stack.enter_async_context(open_database(settings.database_url, schema=SCHEMA))
        bus = await stack.enter_async_context(open_bus(settings.nats_url, name=SCHEMA, tls=tls))
        relay = OutboxRelay(database, outbox, bus)
        signer = TokenSigner(key, SCHEMA)
        resources = await _open_resources(stack, settings, signer, database, relay, tls)
        await stack.enter_async_context(lifecycle.working())
        _spawn_workers(settings, lifecycle, resources, bus, relay)
        authenticate = await stack.enter_async_context(
            open_authentication(settings.billing_address, signer, bus, settings.rpc_timeout_seconds, tls)
        )
        server = await stack.enter_async_context(
            open_server(settings, TokenVerifier(key, SCHEMA), authenticate=authenticate, servicers=_servicers(resources), tls=tls)
        )
        lifecycle.spawn(watch_health(server, {"database": database.check}, lifecycle.leaving), "jobs-health")
        yield


async def _open_resources(
    stack: AsyncExitStack, settings: JobsSettings, signer: TokenSigner, database: Database, relay: OutboxRelay, tls: Certificates | None
) -> Resources:
    connect = partial(open_channel, signer=signer, timeout_seconds=settings.rpc_timeout_seconds, tls=tls)

    async def channel(address: str, audience: str, *services: ServiceDescriptor) -> Channel:
        return await stack.enter_async_context(connect(address, audience=audience, services=services))

    ledger = billing_service_pb2.DESCRIPTOR.services_by_name["BillingService"]
    accounts = accounts_service_pb2.DESCRIPTOR.services_by_name["AccountsService"]
    billing = await channel(settings.billing_address, "billing", ledger, accounts)
    objects = storage_service_pb2.DESCRIPTOR.services_by_name["StorageService"]
    datasets = datasets_service_pb2.DESCRIPTOR.services_by_name["DatasetsService"]
    storage = await channel(settings.storage_address, "storage", objects, datasets)
    return Resources(
        database=database,
        policy=settings.policy(),
        changes=Changes(settings.watch_limit),
        intake=await stack.enter_async_context(open_intake(database, settings.reserve_seconds)),
        claim_key=read_claim_key(settings.claim_key_file),
        networks=settings.network_policy(),
        billing=BillingServiceStub(billing),
        accounts=AccountsServiceStub(billing),
        storage=StorageServiceStub(storage),
        datasets=DatasetsServiceStub(storage),
        wake_relay=relay.wake,
        work_waiting=asyncio.Event(),
        removals_waiting=asyncio.Event(),
        fetches_waiting=asyncio.Event(),
    )


def _servicers(resources: Resources) -> list[Registration]:
    return [
        Registration(
            add_JobsServiceServicer_to_server,
            JobsRpc(resources),
            jobs_service_pb2.DESCRIPTOR.services_by_name["JobsService"],
        ),
        Registration(
            add_DetectionJobsServiceServicer_to_server,
            DetectionJobsRpc(resources),
            detection_jobs_service_pb2.DESCRIPTOR.services_by_name["DetectionJobsService"],
        ),
        Registration(
            add_WorkServiceServicer_to_server,
            WorkRpc(resources),
            work_service_pb2.DESCRIPTOR.services_by_name["WorkService"],
        ),
    ]


def _spawn_workers(settings: JobsSettings, lifecycle: Lifecycle, resources: Resources, bus: Bus, relay: OutboxRelay) -> None:
    stopping = lifecycle.stopping

    def loop(name: str, turn: Callable[[], Awaitable[object]], seconds: float, woken: asyncio.Event | None = None) -> None:
        work = repeat(turn, name=name, seconds=seconds, stopping=stopping, woken=woken or asyncio.Event())
        lifecycle.spawn(work, f"jobs-{name}")

    lifecycle.spawn(relay.run(stopping), "jobs-relay")
    lifecycle.spawn(consume_results(resources, bus, concurrency=settings.event_concurrency, stopping=stopping), "jobs-results")
    lifecycle.spawn(consume_detections(resources, bus, concurrency=settings.event_concurrency, stopping=stopping), "jobs-detections")
    lifecycle.spawn(_end_watches(resources, stopping), "jobs-watches")
    loop("dispatch", Dispatcher(resources).turn, settings.dispatch_interval_seconds, resources.work_waiting)
    loop("sweep", Sweeper(resources, bus, relay).turn, settings.sweep_interval_seconds)
    loop("watch", partial(poll_watched, resources), settings.watch_interval_seconds)
    loop("reconcile", Reconciler(resources).turn, settings.reconcile_interval_seconds)
    drained = partial(drain, batch_size=settings.batch_size, stopping=stopping)
    loop("cleanup", partial(drained, partial(remove_due, resources)), settings.cleanup_interval_seconds, resources.removals_waiting)
    loop("orphans", OrphanFinder(resources).turn, settings.orphan_media_interval_seconds)
    loop("uploads", partial(drained, partial(expire_uploads, resources)), settings.upload_interval_seconds)
    loop("retention", AudioExpirer(resources).turn, settings.retention_interval_seconds)
    for number in range(settings.fetch_slots):
        loop(f"fetch-{number}", Fetcher(resources, stopping).turn, settings.fetch_interval_seconds, resources.fetches_waiting)
    loop("tidy", partial(tidy, resources), settings.tidy_interval_seconds)


async def _end_watches(resources: Resources, stopping: asyncio.Event) -> None:
    """Watchers would otherwise hold the server until its grace period is over."""
    await stopping.wait()
    resources.changes.close()
