"""The services behind the gateway, as stubs over channels."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import grpc

from services.gateway.settings import GatewaySettings
from services.mesh.channel import open_channel
from services.mesh.identity import TokenSigner
from services.mesh.tls.certificates import Certificates
from steno.billing.v1 import accounts_service_pb2, billing_service_pb2, payments_service_pb2
from steno.billing.v1.accounts_service_pb2_grpc import AccountsServiceAsyncStub, AccountsServiceStub
from steno.billing.v1.billing_service_pb2_grpc import BillingServiceAsyncStub, BillingServiceStub
from steno.billing.v1.payments_service_pb2_grpc import PaymentsServiceAsyncStub, PaymentsServiceStub
from steno.inference.v1 import inference_service_pb2
from steno.inference.v1.inference_service_pb2_grpc import InferenceServiceAsyncStub, InferenceServiceStub
from steno.jobs.v1 import detection_jobs_service_pb2, jobs_service_pb2
from steno.jobs.v1.detection_jobs_service_pb2_grpc import DetectionJobsServiceAsyncStub, DetectionJobsServiceStub
from steno.jobs.v1.jobs_service_pb2_grpc import JobsServiceAsyncStub, JobsServiceStub
from steno.storage.v1 import datasets_service_pb2, storage_service_pb2
from steno.storage.v1.datasets_service_pb2_grpc import DatasetsServiceAsyncStub, DatasetsServiceStub
from steno.storage.v1.storage_service_pb2_grpc import StorageServiceAsyncStub, StorageServiceStub


@dataclass(frozen=True)
class Peers:
    """One stub per gRPC service that the gateway calls; `channels` are by service name.

    trust: for the https of storage's data plane; None for the machine's authorities.
    """

    accounts: AccountsServiceAsyncStub
    billing: BillingServiceAsyncStub
    payments: PaymentsServiceAsyncStub
    storage: StorageServiceAsyncStub
    datasets: DatasetsServiceAsyncStub
    jobs: JobsServiceAsyncStub
    detection_jobs: DetectionJobsServiceAsyncStub
    inference: InferenceServiceAsyncStub
    channels: Mapping[str, grpc.aio.Channel]
    trust: ssl.SSLContext | None = None


@asynccontextmanager
async def open_peers(settings: GatewaySettings, signer: TokenSigner, tls: Certificates | None = None) -> AsyncIterator[Peers]:
    """Channels to every peer; they connect when first used."""
    places = {
        "billing": (settings.billing_address, [accounts_service_pb2, billing_service_pb2, payments_service_pb2]),
        "storage": (settings.storage_address, [storage_service_pb2, datasets_service_pb2]),
        "jobs": (settings.jobs_address, [jobs_service_pb2, detection_jobs_service_pb2]),
        "inference": (settings.inference_address, [inference_service_pb2]),
    }
    connect = partial(open_channel, signer=signer, timeout_seconds=settings.rpc_timeout_seconds, tls=tls)
    async with AsyncExitStack() as stack:
        channels: dict[str, grpc.aio.Channel] = {}
        for name, (address, modules) in places.items():
            services = [service for module in modules for service in module.DESCRIPTOR.services_by_name.values()]
            channels[name] = await stack.enter_async_context(connect(address, audience=name, services=services))
        yield Peers(
            AccountsServiceStub(channels["billing"]),
            BillingServiceStub(channels["billing"]),
            PaymentsServiceStub(channels["billing"]),
            StorageServiceStub(channels["storage"]),
            DatasetsServiceStub(channels["storage"]),
            JobsServiceStub(channels["jobs"]),
            DetectionJobsServiceStub(channels["jobs"]),
            InferenceServiceStub(channels["inference"]),
            channels,
            tls.downloads_context() if tls else None,
        )
