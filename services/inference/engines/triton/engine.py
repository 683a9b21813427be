"""The engine over a Triton server: everything waits while the server cannot, and goes on by itself when it can."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TypeAlias

import numpy as np

from services.inference.engines.engine import (
    DetectorScores,
    EngineFailed,
    LanguageUnsupported,
    StoredDetector,
    WindowFailed,
    WindowParameters,
)
from services.inference.engines.local import open_local_engine
from services.inference.engines.triton import canaries
from services.inference.engines.triton.batches import BatchWatch
from services.inference.engines.triton.calls import ModelCalls
from services.inference.engines.triton.climb import climb
from services.inference.engines.triton.detectors import TritonDetectors
from services.inference.engines.triton.faults import CallFailed, understood
from services.inference.engines.triton.health import ModelHealth
from services.inference.engines.triton.limit import CallLimit
from services.inference.engines.triton.repository import DetectorRepository
from services.inference.engines.triton.server import TritonAddress, TritonServer, open_triton_server
from services.inference.engines.triton.watch import ModelWatch, ServerWatch, WatchTimes
from services.inference.failures import ungrouped
from services.inference.models.catalogue.bundled import TEST_MODEL
from services.inference.models.vad_state import VadState
from services.inference.pcm import SAMPLE_RATE_HZ, Features, Floats, Pcm
from services.inference.settings import InferenceSettings
from services.inference.transcript import WindowResult
from services.inference.triton import wire
from services.mesh import semconv
from services.mesh.telemetry import get_logger
from services.mesh.tls.certificates import Certificates

MODELS = (wire.WHISPER, wire.VAD, wire.SPEAKER)
WINDOW_SECONDS = wire.WINDOW_SAMPLES / SAMPLE_RATE_HZ
USUAL_BATCH = 8
DETECTOR_PROCESSES = 2

Detect: TypeAlias = Callable[[StoredDetector, Features], Awaitable[DetectorScores]]


class TritonEngine:
    """Whisper, Silero and the d-vector encoder behind Triton.

    What Whisper it is comes from the server and may change when that is restarted; until it first answered, no languages are known
    and `check` fails. configured_model: the name until then. run_detector: wherever detectors run.
    """

    name = "triton"
    max_window_seconds = WINDOW_SECONDS
    punctuates = True

    def __init__(self, server: TritonServer, times: WatchTimes, *, may_load: bool, configured_model: str, run_detector: Detect) -> None:
        self._server = server
        self._run_detector = run_detector
        self._configured_model = configured_model
        self._description: wire.WhisperDescription | None = None
        self._calls = {
            model: ModelCalls(server, ModelHealth(model), CallLimit(USUAL_BATCH), deadline_seconds=times.stuck_seconds) for model in MODELS
        }
        self._server_watch = ServerWatch(server, [calls.health for calls in self._calls.values()], times)
        asked = {wire.WHISPER: self._ask_whisper, wire.VAD: self._ask_vad, wire.SPEAKER: self._ask_speaker}
        self._watches = [
            ModelWatch(server, self._server_watch, calls.health, asked[model], times, may_load, calls.limit)
            for model, calls in self._calls.items()
        ]
        self._calls[wire.WHISPER].limit.on_change(self._show_limit)

    @property
    def model(self) -> str:
        """The Whisper that Triton runs."""
        return self._description.model if self._description else self._configured_model

    @property
    def languages(self) -> tuple[str, ...]:
        """ISO 639-1 codes it transcribes; none before it first answered."""
        return self._description.languages if self._description else ()

    @property
    def production(self) -> bool:
        """Whether that is no test model."""
        return not self.test

    @property
    def test(self) -> bool:
        """Whether that is the bundled test model."""
        return self.model == TEST_MODEL

    @property
    def precision(self) -> str:
        """Form of its weights; empty before it first answered."""
        return self._description.precision if self._description else ""

    @property
    def translates(self) -> bool:
        """Whether it translates into English."""
        return self._description is not None and self._description.translates

    @property
    def windows_in_flight(self) -> int:
        """As many as the model's queue bears: two full batches at first."""
        return self._calls[wire.WHISPER].limit.bound

    def on_capacity(self, changed: Callable[[], None]) -> None:
        """Call this whenever `windows_in_flight` changed."""
        self._calls[wire.WHISPER].limit.on_change(changed)

    async def detect(self, detector: StoredDetector, features: Features) -> DetectorScores:
        """Raises EngineFailed."""
        return await self._run_detector(detector, features)

    async def watch(self) -> None:
        """Look after server and models until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._server_watch.run(), name="triton server watch")
            group.create_task(BatchWatch(self._server, MODELS).run(), name="triton batch watch")
            for watch in self._watches:
                group.create_task(watch.run(), name=f"triton {watch.health.model} watch")

    async def check(self) -> None:
        """What the watch saw last, without asking: raises EngineFailed with what is wrong."""
        troubles = [self._server_watch.trouble, *(calls.health.trouble for calls in self._calls.values())]
        if trouble := next(filter(None, troubles), None):
            raise EngineFailed(trouble)

    async def transcribe_window(self, pcm: Pcm, parameters: WindowParameters) -> WindowResult:
        """Waits for Triton. Raises LanguageUnsupported, or WindowFailed for a window that fails while the model works."""
        await self._calls[wire.WHISPER].health.well()
        if parameters.language is not None and parameters.language not in self.languages:
            raise LanguageUnsupported(f"{self.model} does not know the language {parameters.language}")
        window = wire.WindowTry(
            pcm,
            parameters.language,
            parameters.prompt,
            ", ".join(parameters.hotwords),
            parameters.translate,
            temperature=parameters.temperature or 0.0,
        )
        try:
            # What was begun goes before what is new: it holds a place until it ends.
            return await climb(lambda one: self._try(one, parameters.priority if one is window else 0), window, self.languages)
        except (CallFailed, wire.BadRequest) as error:
            raise WindowFailed(str(error)) from error

    async def _try(self, window: wire.WindowTry, priority: int) -> WindowResult:
        outputs = await self._calls[wire.WHISPER].ask(wire.encode_window(window), priority)
        return understood(lambda: wire.decode_result(outputs))

    async def speech_probabilities(self, pcm: Pcm, state: VadState) -> tuple[Floats, VadState]:
        """Waits for Triton. Raises EngineFailed for audio on which the model fails while it works otherwise."""
        found = [np.zeros(0, np.float32)]
        with _blaming(wire.VAD):
            for piece in wire.vad_pieces(pcm):
                outputs = await self._calls[wire.VAD].ask(wire.encode_piece(piece, state))
                probabilities, state = wire.decode_probabilities(outputs, piece, state)
                found.append(probabilities)
        return np.concatenate(found), state

    async def embed(self, pcm: Pcm, spans: Sequence[tuple[int, int]], gain: float) -> Floats:
        """Waits for Triton. Raises EngineFailed as `speech_probabilities` does, and for more than 61 s of audio."""
        found = [np.zeros((0, wire.EMBEDDING_SIZE), np.float32)]
        with _blaming(wire.SPEAKER):
            for group in wire.span_groups(spans):
                outputs = await self._calls[wire.SPEAKER].ask(wire.encode_stretch(pcm, group, gain))
                found.append(wire.decode_embeddings(outputs, len(group)))
        return np.concatenate(found)

    async def _ask_whisper(self, deadline_seconds: float, thorough: bool) -> None:
        description = await canaries.describe_whisper(self._server, deadline_seconds)
        if thorough:
            await canaries.ask_whisper(self._server, deadline_seconds, description.languages[0])
            await self._fit(wire.WHISPER)
        if description != self._description:
            self._description = description
            get_logger("inference.triton").info("model described", model=description.model, precision=description.precision)

    async def _ask_vad(self, deadline_seconds: float, thorough: bool) -> None:
        await canaries.ask_vad(self._server, deadline_seconds)
        if thorough:
            await self._fit(wire.VAD)

    async def _ask_speaker(self, deadline_seconds: float, thorough: bool) -> None:
        await canaries.ask_speaker(self._server, deadline_seconds)
        if thorough:
            await self._fit(wire.SPEAKER)

    async def _fit(self, model: str) -> None:
        config = await self._server.config(model)
        self._calls[model].limit.fit(max(1, int(config.get("max_batch_size", 1))))

    def _show_limit(self) -> None:
        semconv.TRITON_WINDOW_LIMIT.set(self.windows_in_flight)


@contextmanager
def _blaming(model: str) -> Iterator[None]:
    try:
        yield
    except (CallFailed, wire.BadRequest) as error:
        raise EngineFailed(f"{model}: {error}") from error


@asynccontextmanager
async def open_triton_engine(settings: InferenceSettings, tls: Certificates | None = None) -> AsyncIterator[TritonEngine]:
    """The engine, whether its server is there yet or not. tls: what the server is shown, and whom to trust where no authority is named."""
    address = TritonAddress(
        settings.triton_address,
        settings.triton_tls,
        settings.triton_tls_ca_file,
        settings.triton_control_header.get_secret_value(),
    )
    times = WatchTimes(stuck_seconds=settings.triton_call_seconds, load_seconds=settings.triton_load_seconds)
    async with open_triton_server(address, tls) as server, _open_detectors(settings, server) as run_detector:
        engine = TritonEngine(
            server, times, may_load=settings.triton_model_control, configured_model=settings.model, run_detector=run_detector
        )
        async with watched(engine):
            yield engine


@asynccontextmanager
async def _open_detectors(settings: InferenceSettings, server: TritonServer) -> AsyncIterator[Detect]:
    """Behind the server where its repository can be written to, else in processes of this machine, which start with the first file."""
    if settings.triton_repository is not None and settings.triton_model_control:
        repository = DetectorRepository(settings.triton_repository)
        repository.tidy()
        yield TritonDetectors(
            server, repository, settings.triton_detectors, settings.triton_load_seconds, settings.triton_call_seconds
        ).detect
        return
    get_logger("inference.triton").info("detectors run beside Triton: its repository is not named, or its models may not be loaded")
    async with open_local_engine(DETECTOR_PROCESSES) as local:
        yield local.detect


@asynccontextmanager
async def watched(engine: TritonEngine) -> AsyncIterator[None]:
    """Within, the engine's server is looked after."""
    with ungrouped():
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(engine.watch(), name="triton watch")
            try:
                yield
            finally:
                watching.cancel()
