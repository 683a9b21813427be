"""A real engine in trouble: it delegates, and fails or hangs where a test says so."""

import asyncio
from collections.abc import Callable, Sequence

from services.inference.engines.engine import DetectorScores, Engine, EngineFailed, StoredDetector, WindowParameters
from services.inference.models.vad_state import VadState
from services.inference.pcm import Features, Floats, Pcm
from services.inference.transcript import WindowResult


class TroubledEngine:
    """`trouble(n)` is raised by the n-th window, from 0, if it is an error; windows in `hanging` never end; `dead` fails all else.

    `detection_trouble` and `hanging` do so to blocks that detectors are run over.

    `colour` says what to make of a result, and `asked` with which parameters the windows came.
    """

    languages = ("en",)
    punctuates = False
    translates = False
    production = False
    test = False
    precision = ""

    def __init__(self, engine: Engine, max_window_seconds: float = 3.0) -> None:
        self.inner = engine
        self.name, self.model = engine.name, engine.model
        self.max_window_seconds = max_window_seconds
        self.windows_in_flight = engine.windows_in_flight
        self.trouble: Callable[[int], Exception | None] = lambda number: None
        self.detection_trouble: Callable[[int], Exception | None] = lambda number: None
        self.detections = 0
        self.hanging: set[int] = set()
        self.dead = False
        self.stuck_check = False
        self.colour: Callable[[WindowResult, WindowParameters], WindowResult] = lambda result, parameters: result
        self.asked: list[WindowParameters] = []
        self.windows_heard = 0
        self.at_work = asyncio.Event()
        self.checking = asyncio.Event()
        self.embedded = asyncio.Event()

    def on_capacity(self, changed: Callable[[], None]) -> None:
        """It never changes."""

    async def transcribe_window(self, pcm: Pcm, parameters: WindowParameters) -> WindowResult:
        """As the engine, unless in trouble."""
        number = self.windows_heard
        self.windows_heard += 1
        self.asked.append(parameters)
        self.at_work.set()
        if number in self.hanging:
            await asyncio.Event().wait()
        if (error := self.trouble(number)) is not None:
            raise error
        return self.colour(await self.inner.transcribe_window(pcm, parameters), parameters)

    async def speech_probabilities(self, pcm: Pcm, state: VadState) -> tuple[Floats, VadState]:
        """As the engine, unless dead."""
        self._live()
        return await self.inner.speech_probabilities(pcm, state)

    async def embed(self, pcm: Pcm, spans: Sequence[tuple[int, int]], gain: float) -> Floats:
        """As the engine, unless dead."""
        self._live()
        embeddings = await self.inner.embed(pcm, spans, gain)
        self.embedded.set()
        return embeddings

    async def detect(self, detector: StoredDetector, features: Features) -> DetectorScores:
        """As the engine, unless in trouble, hanging or dead."""
        number = self.detections
        self.detections += 1
        self.at_work.set()
        if number in self.hanging:
            await asyncio.Event().wait()
        self._live()
        if (error := self.detection_trouble(number)) is not None:
            raise error
        return await self.inner.detect(detector, features)

    async def check(self) -> None:
        """As the engine, unless dead or stuck."""
        self.checking.set()
        if self.stuck_check:
            await asyncio.Event().wait()
        self._live()
        await self.inner.check()

    def _live(self) -> None:
        if self.dead:
            raise EngineFailed("the engine is dead")
