"""What work is done with."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import httpx2

from services.inference.engines.engine import Engine
from services.inference.pipeline import Pipeline
from services.inference.stored_detectors import StoredDetectors
from services.inference.trainer.child import TrainerProgram
from services.media.sandbox import Sandbox
from services.mesh.bus import Bus
from steno.jobs.v1.work_service_pb2_grpc import WorkServiceAsyncStub
from steno.storage.v1.datasets_service_pb2_grpc import DatasetsServiceAsyncStub
from steno.storage.v1.storage_service_pb2_grpc import StorageServiceAsyncStub

# Publishes a result that is already stored, and returns once the bus has it.
Tell: TypeAlias = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Workbench:
    """What work needs: the other services, the engine, the sandbox, room on a disk; detectors, and the program that trains them."""

    work: WorkServiceAsyncStub
    storage: StorageServiceAsyncStub
    datasets: DatasetsServiceAsyncStub
    client: httpx2.AsyncClient
    bus: Bus
    engine: Engine
    pipeline: Pipeline
    sandbox: Sandbox
    scratch: Path
    max_duration_ms: int
    worker_id: str
    detectors: StoredDetectors
    trainer: TrainerProgram
