"""The engine of an installation without a model server: bundled models in processes of our own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import numpy as np

from services.inference.engines.engine import (
    DetectorScores,
    EngineFailed,
    LanguageUnsupported,
    StoredDetector,
    WindowFailed,
    WindowParameters,
)
from services.inference.engines.local_pool import WorkerPool, open_worker_pool
from services.inference.models.vad_state import VadState
from services.inference.pcm import Features, Floats, Pcm
from services.inference.transcript import WindowResult

LANGUAGE = "en"
CHECK_TIMEOUT_SECONDS = 20.0


class LocalEngine:
    """PocketSphinx, Silero and the d-vector encoder over one pool of processes.

    English only, so that a translation is the transcript; lower case without punctuation, but for words of the prompt; its
    search has no temperature. Windows of 15 s: its search starts badly after a cut, and
    short windows make progress finer and a lost one cheaper.
    """

    name = "local"
    model: str = "pocketsphinx-en-us"
    languages: tuple[str, ...] = (LANGUAGE,)
    production: bool = False
    test: bool = False
    precision: str = ""
    translates: bool = False
    max_window_seconds = 15.0
    punctuates = False

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool

    @property
    def pids(self) -> tuple[int, ...]:
        """Ids of the processes that run now."""
        return self._pool.pids

    @property
    def windows_in_flight(self) -> int:
        """One per process, and one that is cut while they work."""
        return self._pool.size + 1

    def on_capacity(self, changed: Callable[[], None]) -> None:
        """It never changes."""

    async def transcribe_window(self, pcm: Pcm, parameters: WindowParameters) -> WindowResult:
        """Raises LanguageUnsupported for any language but English, WindowFailed when tries are spent."""
        if parameters.language not in (None, LANGUAGE):
            raise LanguageUnsupported(f"the bundled engine knows English, not {parameters.language}")
        try:
            result: WindowResult = await self._pool.call("transcribe", np.array(pcm), parameters.prompt)
        except EngineFailed as error:
            raise WindowFailed(str(error)) from error
        return result

    async def speech_probabilities(self, pcm: Pcm, state: VadState) -> tuple[Floats, VadState]:
        """Raises EngineFailed."""
        found: tuple[Floats, VadState] = await self._pool.call("speech_probabilities", np.array(pcm), state)
        return found

    async def embed(self, pcm: Pcm, spans: Sequence[tuple[int, int]], gain: float) -> Floats:
        """Raises EngineFailed."""
        embeddings: Floats = await self._pool.call("embed", np.array(pcm), tuple(spans), gain)
        return embeddings

    async def detect(self, detector: StoredDetector, features: Features) -> DetectorScores:
        """Raises EngineFailed."""
        scores: DetectorScores = await self._pool.call("detect", str(detector.path), np.array(features))
        return scores

    async def check(self) -> None:
        """A busy pool is a working one: the check never waits behind windows."""
        if self._pool.busy:
            return
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                await self._pool.call("ping")
        except TimeoutError as error:
            raise EngineFailed("no process of the local engine answers") from error


@asynccontextmanager
async def open_local_engine(workers: int) -> AsyncIterator[LocalEngine]:
    """The engine over `workers` processes, which start with their first call."""
    async with open_worker_pool(workers) as pool:
        yield LocalEngine(pool)
