"""Storage, put together."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

from services.media.sandbox import open_sandbox
from services.mesh import semconv
from services.mesh.api_keys import open_authentication
from services.mesh.bus import open_bus
from services.mesh.database import open_database
from services.mesh.edge.leaving import closing_when
from services.mesh.egress.egress import open_egress
from services.mesh.egress.limits import FetchLimits
from services.mesh.health import watch_health
from services.mesh.identity import TokenSigner, TokenVerifier, load_key
from services.mesh.lifecycle import Lifecycle
from services.mesh.migrations import prepare_schema
from services.mesh.outbox import OutboxRelay
from services.mesh.server import Registration, open_server
from services.mesh.tls.certificates import open_certificates
from services.storage import workers
from services.storage.blobs.blobs import Blobs
from services.storage.blobs.directory import DirectoryBlobs
from services.storage.data_plane.app import make_data_plane
from services.storage.data_plane.server import listen, open_data_plane
from services.storage.rpc.datasets import DatasetsRpc
from services.storage.rpc.storage import StorageRpc
from services.storage.settings import StorageSettings
from services.storage.signing import UrlSigner
from services.storage.sites.extractor import Extractor
from services.storage.store.tables import OUTBOX
from services.storage.usecases.arrivals import Arrivals
from services.storage.usecases.datasets.preparing import Preparer
from services.storage.usecases.depot import Depot, Limits
from services.storage.usecases.fetching import Fetcher
from steno.storage.v1 import datasets_service_pb2, storage_service_pb2
from steno.storage.v1.datasets_service_pb2_grpc import add_DatasetsServiceServicer_to_server
from steno.storage.v1.storage_service_pb2_grpc import add_StorageServiceServicer_to_server

SCHEMA = "storage"
MIGRATIONS = Path(__file__).with_name("migrations")
DISK_THREADS = 16


@asynccontextmanager
async def app(settings: StorageSettings, lifecycle: Lifecycle) -> AsyncIterator[None]:
    """Storage while it serves. Raises OSError, ValueError (keys), SandboxUnavailable."""
    key = load_key(settings.identity_key_file)
    verifier = TokenVerifier(key, audience=SCHEMA)
    await prepare_schema(settings.database_url, schema=SCHEMA, script_location=str(MIGRATIONS), profile=settings.profile)
    reaping, preparing = asyncio.Event(), asyncio.Event()
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(listen(settings.host, settings.data_port))
        tls = await stack.enter_async_context(open_certificates(settings))
        database = await stack.enter_async_context(open_database(settings.database_url, schema=SCHEMA))
        bus = await stack.enter_async_context(open_bus(settings.nats_url, name=SCHEMA, tls=tls))
        relay = OutboxRelay(database, OUTBOX, bus)
        depot = Depot(
            database=database,
            blobs=open_blobs(settings, stack.enter_context(ThreadPoolExecutor(DISK_THREADS, "disk"))),
            signer=UrlSigner.from_file(settings.signing_key_file, settings.data_url or base_url(listener, encrypted=tls is not None)),
            sandbox=await stack.enter_async_context(open_sandbox(concurrency=settings.concurrent_probes, on_death=_count_death)),
            limits=limits_of(settings),
            wake_relay=relay.wake,
            wake_reaper=reaping.set,
            wake_preparer=preparing.set,
        )
        fetcher = await stack.enter_async_context(open_fetcher(settings))
        await stack.enter_async_context(lifecycle.working())
        lifecycle.spawn(relay.run(lifecycle.stopping), "storage-outbox")
        data_plane = closing_when(lifecycle.leaving, make_data_plane(depot, settings.max_transfers))
        await stack.enter_async_context(open_data_plane(data_plane, listener, settings.shutdown_grace_seconds, tls))
        authenticate = await stack.enter_async_context(
            open_authentication(settings.billing_address, TokenSigner(key, SCHEMA), bus, settings.rpc_timeout_seconds, tls)
        )
        server = await stack.enter_async_context(
            open_server(settings, verifier, authenticate=authenticate, servicers=registrations(depot, fetcher), tls=tls)
        )
        spawn_workers(depot, settings, lifecycle, reaping)
        spawn_preparers(depot, settings, lifecycle, preparing)
        checks = {"database": database.check, "store": depot.blobs.check}
        lifecycle.spawn(watch_health(server, checks, lifecycle.leaving, every_seconds=settings.health_seconds), "storage-health")
        yield


@asynccontextmanager
async def open_fetcher(settings: StorageSettings) -> AsyncIterator[Fetcher]:
    """The way out for media. Raises OSError and ssl.SSLError when the authorities cannot be read."""
    limits = FetchLimits(
        total_seconds=settings.fetch_seconds,
        idle_seconds=settings.fetch_idle_seconds,
        least_bytes_per_second=settings.fetch_bytes_per_second,
    )
    async with open_egress(settings.network_policy(), limits, trust=settings.egress_trust()) as egress:
        youtube = Extractor(egress.connect, settings.site_seconds, settings.egress_ca_file)
        yield Fetcher(egress, youtube, Arrivals(settings.fetch_slots))


def registrations(depot: Depot, fetcher: Fetcher) -> Sequence[Registration]:
    """The gRPC services of storage."""
    storage = storage_service_pb2.DESCRIPTOR.services_by_name["StorageService"]
    datasets = datasets_service_pb2.DESCRIPTOR.services_by_name["DatasetsService"]
    return (
        Registration(add_StorageServiceServicer_to_server, StorageRpc(depot, fetcher), storage),
        Registration(add_DatasetsServiceServicer_to_server, DatasetsRpc(depot), datasets),
    )


def open_blobs(settings: StorageSettings, threads: Executor) -> Blobs:
    """The place for bytes that the settings name. Raises OSError; ValueError without a bucket."""
    if settings.blob_store == "s3":
        return open_s3(settings)
    blobs = DirectoryBlobs(settings.blob_directory, settings.reserve_bytes, threads)
    blobs.prepare()
    return blobs


def open_s3(settings: StorageSettings) -> Blobs:
    """The bucket. Imported here, because the extra `s3` is not needed for a directory."""
    from services.storage.blobs.post_policy import Credentials
    from services.storage.blobs.s3 import S3Blobs, S3Location

    location = S3Location(
        bucket=settings.s3_bucket,
        prefix=settings.s3_prefix,
        region=settings.s3_region,
        endpoint=settings.s3_endpoint,
        access_key_id=settings.s3_access_key_id,
        secret_access_key=settings.s3_secret_access_key.get_secret_value(),
        timeout=timedelta(seconds=settings.s3_timeout_seconds),
    )
    settings.blob_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    signing = settings.s3_signing_credentials()
    return S3Blobs(location, settings.blob_directory, settings.s3_presigned_downloads, Credentials(*signing) if signing else None)


def limits_of(settings: StorageSettings) -> Limits:
    """The limits among the settings."""
    return Limits(
        max_media_bytes=settings.max_media_bytes,
        max_artefact_bytes=settings.max_artefact_bytes,
        max_duration_ms=settings.max_duration_ms,
        upload_url_seconds=settings.upload_url_seconds,
        upload_seconds=settings.upload_seconds,
        idle_seconds=settings.idle_seconds,
    )


def base_url(listener: socket.socket, *, encrypted: bool = False) -> str:
    """Where a listener is reached on this machine."""
    scheme = "https" if encrypted else "http"
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def spawn_workers(depot: Depot, settings: StorageSettings, lifecycle: Lifecycle, reaping: asyncio.Event) -> None:
    """Start the loops; a failed one ends the service."""
    stopping = lifecycle.stopping
    abandoned = timedelta(seconds=settings.abandoned_seconds)
    lifecycle.spawn(workers.run_reaper(depot, reaping, settings.reap_seconds, stopping), "storage-reaper")
    lifecycle.spawn(workers.run_janitor(depot, abandoned, settings.sweep_seconds, stopping), "storage-janitor")


def spawn_preparers(depot: Depot, settings: StorageSettings, lifecycle: Lifecycle, work: asyncio.Event) -> None:
    """Start the loops that prepare audio of datasets, as many as the settings say."""
    if not settings.concurrent_preparations:
        return
    # Imported here: numpy takes as long to load as everything else, and a replica without slots does without.
    from services.detection.features import VERSION

    folder = settings.blob_directory / "preparing"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    preparer = Preparer(folder, VERSION)
    for number in range(settings.concurrent_preparations):
        loop = workers.run_preparer(depot, preparer, work, settings.prepare_seconds, lifecycle.stopping)
        lifecycle.spawn(loop, f"storage-preparer-{number}")


def _count_death(cause: str) -> None:
    semconv.SANDBOX_DEATHS.labels(cause).inc()
