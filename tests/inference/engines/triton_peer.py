"""A server that speaks Triton's protocol and misbehaves as it is told; the models behind it know three answers."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from services.inference.engines.local import open_local_engine
from services.inference.engines.triton.engine import TritonEngine, watched
from services.inference.engines.triton.server import TritonAddress, open_triton_server
from services.inference.engines.triton.tensors import to_arrays, to_request
from services.inference.engines.triton.watch import WatchTimes
from services.inference.pcm import SAMPLE_RATE_HZ
from services.inference.transcript import Verdict, WindowResult
from services.inference.triton import wire
from tests.certificates import Identity

# As Triton 24.10 says them.
DEAD = (grpc.StatusCode.INTERNAL, "Stub process 'whisper_0' is not healthy.")
FULL = (grpc.StatusCode.UNAVAILABLE, "[request id: <id_unknown>] Exceeds maximum queue size")
RAISED = (grpc.StatusCode.INTERNAL, "Failed to process the request(s) for model 'whisper_0', message: ValueError: boom")
REFUSED = (grpc.StatusCode.INVALID_ARGUMENT, "temperature lies between 0 and 1")
UNKNOWN = (grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'whisper' is not found")
DESCRIPTION = wire.WhisperDescription("tiny", "fp32", "cpu", ("en", "de"), translates=True)
BATCH = 4
QUICK = WatchTimes(well_seconds=0.5, troubled_seconds=0.3, stuck_seconds=30.0, load_seconds=5.0)

Trouble = tuple[grpc.StatusCode, str]


def answer(window: wire.WindowTry) -> WindowResult:
    """What the peer's Whisper says of any window."""
    return WindowResult("yes", language="en", average_log_probability=-0.1, temperature=window.temperature, verdict=Verdict.ACCEPTED)


@dataclass
class TritonPeer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """trouble: of one window, None to answer it; a window as short as the canary's is one. poison: a window that kills its process."""

    trouble: Callable[[wire.WindowTry], Trouble | None] = lambda window: None
    poison: Callable[[wire.WindowTry], bool] = lambda window: False
    result: Callable[[wire.WindowTry], WindowResult] = answer
    description: wire.WhisperDescription | None = DESCRIPTION
    loaded: bool = True
    dead: bool = False
    held: asyncio.Event | None = None
    control_header: tuple[str, str] | None = None
    windows: list[wire.WindowTry] = field(default_factory=list)
    loads: list[dict[str, Any]] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    at_work: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    finished: Counter[str] = field(default_factory=Counter)
    most_at_once: int = 0
    _at_once: int = 0

    async def ServerLive(self, request: Any, context: Any) -> Any:
        """Always."""
        return service_pb2.ServerLiveResponse(live=True)

    async def ModelConfig(self, request: Any, context: Any) -> Any:
        """A configuration with a group of instances, which a reload must keep."""
        config = model_config_pb2.ModelConfig(name=request.name, max_batch_size=BATCH)
        config.instance_group.add(count=1, kind=model_config_pb2.ModelInstanceGroup.KIND_GPU)
        return service_pb2.ModelConfigResponse(config=config)

    async def ModelStatistics(self, request: Any, context: Any) -> Any:
        """What was finished, each by itself."""
        answer, count = service_pb2.ModelStatisticsResponse(), self.finished[request.name]
        found = answer.model_stats.add(name=request.name, inference_count=count, execution_count=count)
        found.batch_stats.add(batch_size=1).compute_infer.count = count
        return answer

    async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:
        """New processes for the model."""
        if self.control_header is not None and self.control_header not in {(key, value) for key, value in context.invocation_metadata()}:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "This protocol is restricted, expecting header 'triton-grpc-protocol-key'")
        config = request.parameters["config"].string_param
        self.loads.append(json.loads(config) if config else {})
        self.dead, self.loaded, self.held = False, True, None
        return service_pb2.RepositoryModelLoadResponse()

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        """One request of one of the three models."""
        self.asked[request.model_name] += 1
        inputs = to_arrays(replace_inputs(request))
        outputs = await self._whisper(inputs, context) if request.model_name == wire.WHISPER else _others(request.model_name, inputs)
        self.finished[request.model_name] += 1
        return to_response(request.model_name, outputs)

    async def _whisper(self, inputs: wire.Arrays, context: Any) -> Any:
        if not self.loaded:
            await context.abort(*UNKNOWN)
        if self.dead:
            await context.abort(*DEAD)
        await self._wait()
        if wire.asks_for_description(inputs):
            return wire.encode_description(self.description) if self.description else {"RESULT": np.array([[b"[]"]], np.object_)}
        window = wire.decode_window(inputs)
        if len(window.pcm) > SAMPLE_RATE_HZ:
            self.windows.append(window)
        return await self._window(window, context)

    async def _wait(self) -> None:
        """Longer than a turn of the loop, so that calls meet."""
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await asyncio.sleep(0.005)
            if self.held is not None:
                self.at_work.set()
                await self.held.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        finally:
            self._at_once -= 1

    async def _window(self, window: wire.WindowTry, context: Any) -> Any:
        if self.poison(window):
            self.dead = True
            await context.abort(*DEAD)
        if (trouble := self.trouble(window)) is not None:
            await context.abort(*trouble)
        return wire.encode_result(self.result(window))


def _others(model: str, inputs: wire.Arrays) -> Any:
    if model == wire.VAD:
        pcm, state = wire.decode_piece(inputs)
        return wire.encode_probabilities(np.full(-(-len(pcm) // wire.FRAME_SAMPLES), 0.5, np.float32), replace(state, gain=1.0))
    _, spans, _ = wire.decode_stretch(inputs)
    return wire.encode_embeddings(np.tile(np.arange(len(spans), dtype=np.float32)[:, None], (1, wire.EMBEDDING_SIZE)))


def replace_inputs(request: Any) -> Any:
    """The request in the form of a response, whose arrays `to_arrays` reads."""
    response = service_pb2.ModelInferResponse(raw_output_contents=request.raw_input_contents)
    for tensor in request.inputs:
        response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    return response


def to_response(model: str, outputs: wire.Arrays) -> Any:
    """A response with these arrays."""
    return replace_inputs(to_request(model, outputs))


def _credentials(identity: Identity) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials([(identity.key.read_bytes(), identity.certificate.read_bytes())])


@asynccontextmanager
async def serving(peer: TritonPeer, port: int = 0, identity: Identity | None = None) -> AsyncIterator[int]:
    """The peer on a port of this machine, over TLS with an identity."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 64 * 1024 * 1024), ("grpc.so_reuseport", 0)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(peer, server)
    place = f"127.0.0.1:{port}"
    bound = server.add_secure_port(place, _credentials(identity)) if identity else server.add_insecure_port(place)
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(0)


@asynccontextmanager
async def engine_at(
    port: int, *, may_load: bool = True, times: WatchTimes = QUICK, control_header: str = ""
) -> AsyncIterator[TritonEngine]:
    """The engine over what is or is not at a port."""
    address = TritonAddress(f"127.0.0.1:{port}", control_header=control_header)
    async with open_triton_server(address) as server, open_local_engine(1) as local:
        engine = TritonEngine(server, times, may_load=may_load, configured_model="", run_detector=local.detect)
        async with watched(engine):
            yield engine
