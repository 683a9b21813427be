"""The services behind the gateway as small real servers: gRPC on loopback, and HTTP for the bytes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from joserfc.jwk import OKPKey

from services.mesh.identity import TokenVerifier
from services.mesh.server import Registration, open_server
from services.mesh.settings import ServiceSettings
from steno.billing.v1 import accounts_service_pb2 as accounts
from steno.billing.v1 import accounts_service_pb2_grpc as accounts_grpc
from steno.billing.v1 import billing_service_pb2 as billing
from steno.billing.v1 import billing_service_pb2_grpc as billing_grpc
from steno.billing.v1 import payments_service_pb2 as payments
from steno.billing.v1 import payments_service_pb2_grpc as payments_grpc
from steno.inference.v1 import inference_service_pb2 as inference
from steno.inference.v1 import inference_service_pb2_grpc as inference_grpc
from steno.jobs.v1 import detection_jobs_service_pb2 as detection
from steno.jobs.v1 import detection_jobs_service_pb2_grpc as detection_grpc
from steno.jobs.v1 import jobs_service_pb2 as jobs
from steno.jobs.v1 import jobs_service_pb2_grpc as jobs_grpc
from steno.storage.v1 import datasets_service_pb2 as datasets
from steno.storage.v1 import datasets_service_pb2_grpc as datasets_grpc
from steno.storage.v1 import storage_service_pb2 as storage
from steno.storage.v1 import storage_service_pb2_grpc as storage_grpc
from tests.gateway.peers.billing import AccountsPeer, BillingPeer
from tests.gateway.peers.data_plane import DataPlane
from tests.gateway.peers.datasets import DatasetsPeer
from tests.gateway.peers.detection import DetectionJobsPeer
from tests.gateway.peers.inference import InferencePeer
from tests.gateway.peers.jobs import JobsPeer
from tests.gateway.peers.payments import PaymentsPeer
from tests.gateway.peers.storage import StoragePeer
from tests.gateway.peers.world import World


@dataclass(frozen=True)
class Addresses:
    """Where the peers listen."""

    billing: str
    storage: str
    jobs: str
    inference: str


@asynccontextmanager
async def open_world(key: OKPKey) -> AsyncIterator[tuple[World, Addresses]]:
    """All peers, serving."""
    world = World()
    world.put_gate.set()
    data_plane = await asyncio.start_server(DataPlane(world).handle, "127.0.0.1", 0)
    world.data_url = f"http://127.0.0.1:{data_plane.sockets[0].getsockname()[1]}"
    # The peers leave out what the gateway never calls.
    peers: dict[str, Any] = {
        "accounts": AccountsPeer(world),  # type: ignore[abstract]
        "billing": BillingPeer(world),  # type: ignore[abstract]
        "payments": PaymentsPeer(world),
        "storage": StoragePeer(world),  # type: ignore[abstract]
        "jobs": JobsPeer(world),  # type: ignore[abstract]
        "datasets": DatasetsPeer(world),  # type: ignore[abstract]
        "detection": DetectionJobsPeer(world),
    }
    services = {
        "billing": [
            Registration(accounts_grpc.add_AccountsServiceServicer_to_server, peers["accounts"], _service(accounts, "AccountsService")),
            Registration(billing_grpc.add_BillingServiceServicer_to_server, peers["billing"], _service(billing, "BillingService")),
            Registration(payments_grpc.add_PaymentsServiceServicer_to_server, peers["payments"], _service(payments, "PaymentsService")),
        ],
        "storage": [
            Registration(storage_grpc.add_StorageServiceServicer_to_server, peers["storage"], _service(storage, "StorageService")),
            Registration(datasets_grpc.add_DatasetsServiceServicer_to_server, peers["datasets"], _service(datasets, "DatasetsService")),
        ],
        "jobs": [
            Registration(jobs_grpc.add_JobsServiceServicer_to_server, peers["jobs"], _service(jobs, "JobsService")),
            Registration(
                detection_grpc.add_DetectionJobsServiceServicer_to_server, peers["detection"], _service(detection, "DetectionJobsService")
            ),
        ],
        "inference": [
            Registration(
                inference_grpc.add_InferenceServiceServicer_to_server,
                InferencePeer(world),  # type: ignore[abstract]
                _service(inference, "InferenceService"),
            )
        ],
    }
    settings = ServiceSettings(shutdown_grace_seconds=0.2)
    async with AsyncExitStack() as stack:
        stack.callback(data_plane.close)
        ports: dict[str, str] = {}
        for name, servicers in services.items():
            opened = open_server(settings, TokenVerifier(key, name), authenticate=None, servicers=servicers)
            server = await stack.enter_async_context(opened)
            ports[name] = f"127.0.0.1:{server.port}"
        yield world, Addresses(**ports)


def _service(module: Any, name: str) -> Any:
    return module.DESCRIPTOR.services_by_name[name]
