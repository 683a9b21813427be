"""The calls of a Triton server that the engine makes, each with a deadline and one kind of failure."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy.typing as npt
from google.protobuf.json_format import MessageToDict
from tritonclient.grpc import service_pb2, service_pb2_grpc

from services.inference.engines.triton.faults import CallFailed, Fault, classify
from services.inference.engines.triton.tensors import to_arrays, to_request
from services.mesh.semconv import Attribute
from services.mesh.tls.certificates import Certificates
from services.mesh.tls.channel import make_channel
from services.mesh.tracing.calls import rpc_attributes
from services.mesh.tracing.parents import headers_of
from services.mesh.tracing.spans import Kind, Span, span

_SHORT_SECONDS = 5.0
_GRACE_SECONDS = 0.5
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_CONTROL_HEADER_PREFIX = "triton-grpc-protocol-"
_INFER, _PEER = "/inference.GRPCInferenceService/ModelInfer", "triton"
# The list replaces gRPC's defaults of this channel. A server that stops answering is noticed by the watch long before
# the keepalive, which ends the calls that such a server has in hand. gRPC's own pause between connections grows to 120 s.
_OPTIONS = (
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True)
class TritonAddress:
    """Where the server is. ca_file: who signs its certificate, None for the system's.

    control_header: NAME=VALUE that opens a restricted model control, empty where there is none.
    """

    address: str
    tls: bool = False
    ca_file: Path | None = None
    control_header: str = ""


@dataclass(frozen=True)
class Progress:
    """What a model has done since it was loaded."""

    inferences: int
    batches: int


class TritonServer:
    """One server over one channel. Every method raises CallFailed."""

    def __init__(self, address: TritonAddress, channel: grpc.aio.Channel) -> None:
        self.address = address.address
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        name, _, value = address.control_header.partition("=")
        self._control = ((f"{_CONTROL_HEADER_PREFIX}{name}", value),) if name else ()

    async def check_live(self, deadline_seconds: float) -> None:
        """Return when the server answers that it lives."""
        answer = await _answered(self._stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=deadline_seconds), deadline_seconds)
        if not answer.live:
            raise CallFailed(Fault.GONE, "the server says that it is not live", reached=False)

    async def infer(
        self, model: str, inputs: Mapping[str, npt.NDArray[Any]], *, deadline_seconds: float, priority: int = 0
    ) -> dict[str, npt.NDArray[Any]]:
        """One request. priority: 1 before 2 and so on, 0 for the model's own; cancelling reaches the model."""
        request = to_request(model, inputs)
        if priority:
            request.parameters["priority"].uint64_param = priority
        with _step(model) as step:
            # Triton records whatever names a trace, also one that says not to.
            trace = tuple(headers_of(step.parent))
            response = await _answered(self._stub.ModelInfer(request, timeout=deadline_seconds, metadata=trace), deadline_seconds)
        try:
            return to_arrays(response)
        except ValueError as error:
            raise CallFailed(Fault.FAILED, f"the answer cannot be read: {error}") from error

    async def progress(self, model: str) -> Progress:
        """Counters that stand still while the model does nothing."""
        request = service_pb2.ModelStatisticsRequest(name=model)
        answer = await _answered(self._stub.ModelStatistics(request, timeout=_SHORT_SECONDS), _SHORT_SECONDS)
        found = answer.model_stats
        return Progress(sum(one.inference_count for one in found), sum(one.execution_count for one in found))

    async def executions(self, model: str) -> Counter[int]:
        """Batches that the model has executed since it was loaded, by size."""
        request = service_pb2.ModelStatisticsRequest(name=model)
        answer = await _answered(self._stub.ModelStatistics(request, timeout=_SHORT_SECONDS), _SHORT_SECONDS)
        executed: Counter[int] = Counter()
        for batch in (batch for one in answer.model_stats for batch in one.batch_stats):
            executed[batch.batch_size] += batch.compute_infer.count
        return executed

    async def config(self, model: str) -> dict[str, Any]:
        """The model's configuration, in the JSON that loading takes."""
        answer = await _answered(self._stub.ModelConfig(service_pb2.ModelConfigRequest(name=model), timeout=_SHORT_SECONDS), _SHORT_SECONDS)
        return dict(MessageToDict(answer.config, preserving_proto_field_name=True))

    async def load(self, model: str, deadline_seconds: float) -> None:
        """Load the model as the repository has it; nothing happens when that is loaded already."""
        await self._load(service_pb2.RepositoryModelLoadRequest(model_name=model), deadline_seconds)

    async def unload(self, model: str, deadline_seconds: float) -> None:
        """End the model once its requests are answered; nothing happens when it is not loaded."""
        request = service_pb2.RepositoryModelUnloadRequest(model_name=model)
        await _answered(self._stub.RepositoryModelUnload(request, timeout=deadline_seconds, metadata=self._control), deadline_seconds)

    async def reload(self, model: str, deadline_seconds: float) -> None:
        """Load the model once more, with new processes. A parameter that differs makes Triton do so."""
        config = await self.config(model)
        config.setdefault("parameters", {})["revived"] = {"string_value": str(time.time_ns())}
        request = service_pb2.RepositoryModelLoadRequest(model_name=model)
        request.parameters["config"].string_param = json.dumps(config)
        await self._load(request, deadline_seconds)

    async def _load(self, request: Any, deadline_seconds: float) -> None:
        await _answered(self._stub.RepositoryModelLoad(request, timeout=deadline_seconds, metadata=self._control), deadline_seconds)


def _step(model: str) -> Span:
    """A request of work that is recorded; nothing for any other."""
    return span(f"infer {model}", Kind.CLIENT, {**rpc_attributes(_INFER, _PEER), Attribute.MODEL: model})


async def _answered(call: Any, deadline_seconds: float) -> Any:
    """What comes of a call with this deadline, which gRPC holds back while the connection is full because the server stands still."""
    try:
        async with asyncio.timeout(deadline_seconds + _GRACE_SECONDS):
            return await call
    except TimeoutError:
        raise CallFailed(Fault.LATE, f"no answer in {deadline_seconds:g} s") from None
    except grpc.aio.AioRpcError as error:
        raise classify(error.code(), error.details() or "") from None
    except grpc.aio.UsageError as error:
        # The channel closes: the service ends.
        raise CallFailed(Fault.GONE, str(error), reached=False) from None


@asynccontextmanager
async def open_triton_server(address: TritonAddress, tls: Certificates | None = None) -> AsyncIterator[TritonServer]:
    """A server whether it is there or not; the connection comes with the first call, and again after a loss.

    tls: the certificate that it is shown, and whose authorities are trusted where the address names none.
    """
    async with _channel(address, tls) as channel:
        yield TritonServer(address, channel)


def _channel(address: TritonAddress, tls: Certificates | None) -> grpc.aio.Channel:
    if not address.tls:
        return grpc.aio.insecure_channel(address.address, options=_OPTIONS)
    roots = address.ca_file.read_bytes() if address.ca_file else None
    # A socket's path is no name that a certificate could be for.
    named = (("grpc.ssl_target_name_override", "localhost"),) if address.address.startswith("unix:") else ()
    if tls is not None:
        return make_channel(address.address, (*_OPTIONS, *named), tls, roots)
    return grpc.aio.secure_channel(address.address, grpc.ssl_channel_credentials(roots), options=(*_OPTIONS, *named))
