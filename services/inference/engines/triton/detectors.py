"""Trained detectors behind Triton: written into its repository, loaded for their first file, unloaded when others need the room."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from services.inference.engines.engine import DetectorScores, EngineFailed, StoredDetector
from services.inference.engines.triton.calls import Tries
from services.inference.engines.triton.faults import CallFailed, Fault, understood
from services.inference.engines.triton.repository import DetectorRepository
from services.inference.engines.triton.server import TritonServer
from services.inference.pcm import Features
from services.inference.triton import wire
from services.mesh import semconv
from services.mesh.telemetry import get_logger

MOST_UNREADY = 10
_FIRST_PAUSE_SECONDS = 0.1
_LAST_PAUSE_SECONDS = 2.0
_LIVE_SECONDS = 2.0
_METRIC = "detector"


@dataclass
class TritonDetectors:
    """most: detectors that may be loaded; more only while all are in use."""

    server: TritonServer
    repository: DetectorRepository
    most: int
    load_seconds: float
    call_seconds: float
    _ready: set[str] = field(default_factory=set)
    _dead: set[str] = field(default_factory=set)
    _users: Counter[str] = field(default_factory=Counter)
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def detect(self, detector: StoredDetector, features: Features) -> DetectorScores:
        """Waits while the server is away. Raises EngineFailed for a detector that does not load, or fails while the server lives."""
        tries, unready = Tries(), 0
        while True:
            try:
                return await self._once(detector, features)
            except CallFailed as failure:
                semconv.TRITON_RETRIES.labels(_METRIC, failure.fault).inc()
                unready += failure.fault in (Fault.UNREADY, Fault.FULL)
                given_up = failure.fault is Fault.REFUSED or unready >= MOST_UNREADY or tries.count(failure, away=False)
                if given_up:
                    raise EngineFailed(f"detector {detector.id}: {failure}") from failure
                self._note(detector, failure)
            await asyncio.sleep(_pause_seconds(tries.failures + tries.losses + unready))
            await self._live()

    async def _live(self) -> None:
        """Return when the server answers."""
        looks = 0
        while True:
            try:
                return await self.server.check_live(_LIVE_SECONDS)
            except CallFailed:
                looks += 1
            await asyncio.sleep(_pause_seconds(looks))

    def _note(self, detector: StoredDetector, failure: CallFailed) -> None:
        """Whatever went wrong, it is loaded again where it is not; a dead process is replaced."""
        name = self.repository.name(detector)
        get_logger("inference.triton").debug("detector call failed", model=name, fault=failure.fault, error=failure.message)
        if failure.fault is not Fault.FULL:
            self._ready.discard(name)
        if failure.fault is Fault.DEAD:
            self._dead.add(name)

    async def _once(self, detector: StoredDetector, features: Features) -> DetectorScores:
        async with self._loaded(detector) as name:
            with semconv.TRITON_CALLS.labels(_METRIC).track_inprogress(), semconv.TRITON_CALL_SECONDS.labels(_METRIC).time():
                outputs = await self.server.infer(name, wire.encode_features(features), deadline_seconds=self.call_seconds)
        return understood(lambda: DetectorScores(*wire.decode_scores(outputs)))

    @asynccontextmanager
    async def _loaded(self, detector: StoredDetector) -> AsyncIterator[str]:
        """The name of the detector's model, which stays loaded within the block. Raises CallFailed."""
        name = self.repository.name(detector)
        self._users[name] += 1
        try:
            if name not in self._ready:
                async with self._changing:
                    await self._load(detector, name)
            self.repository.touch(name)
            yield name
        finally:
            self._users[name] -= 1

    async def _load(self, detector: StoredDetector, name: str) -> None:
        if name in self._ready:
            return
        await self._make_room(name)
        await asyncio.to_thread(self.repository.put, detector)
        load = self.server.reload if name in self._dead else self.server.load
        await load(name, self.load_seconds)
        self._dead.discard(name)
        self._ready.add(name)
        get_logger("inference.triton").info("detector loaded", model=name)

    async def _make_room(self, wanted: str) -> None:
        """Unload those unused for the longest time, also what an earlier process left."""
        others = [name for name in await asyncio.to_thread(self.repository.names) if name != wanted]
        unused = [name for name in others if not self._users[name]]
        for name in unused[::-1][: max(0, len(others) + 1 - self.most)]:
            if self._users[name]:
                continue
            self._ready.discard(name)
            await self.server.unload(name, self.load_seconds)
            await asyncio.to_thread(self.repository.remove, name)
            get_logger("inference.triton").info("detector unloaded", model=name)


def _pause_seconds(tries: int) -> float:
    """Doubles from 0.1 s to 2 s, with jitter."""
    longest: float = min(_LAST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(max(0, tries - 1), 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 (jitter)
