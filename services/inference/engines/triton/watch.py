"""Keeping an eye on a Triton server and its models: a real inference now and then, and a new process for a model whose own ended.

Triton says 'live' and 'ready' of a model whose process is dead, and never starts another (24.10): only an inference shows it.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from services.inference.engines.triton.faults import CallFailed, Fault
from services.inference.engines.triton.health import ModelHealth
from services.inference.engines.triton.limit import CallLimit
from services.inference.engines.triton.server import Progress, TritonServer
from services.mesh import semconv
from services.mesh.telemetry import get_logger

_LIVE_SECONDS = 2.0
_AGAIN_SECONDS = 5.0
_LEAST_PAUSE_SECONDS = 0.25
_JITTER_SECONDS = 0.5
_LAST_PAUSE_SECONDS = 10.0
_PATIENT_LOOKS = 3
# Batches of a busy model may be so many looks apart.
_BUSY_LOOKS = 4

Canary = Callable[[float, bool], Awaitable[None]]


@dataclass(frozen=True)
class WatchTimes:
    """well_seconds: between looks. troubled_seconds: while something is wrong. stuck_seconds: how long a model may do nothing with work.

    load_seconds: how long loading may take.
    """

    well_seconds: float = 5.0
    troubled_seconds: float = 1.0
    stuck_seconds: float = 300.0
    load_seconds: float = 300.0


@dataclass
class ServerWatch:
    """Whether the server answers at all; while it does not, no model is well. Its models are asked anew when it is back."""

    server: TritonServer
    models: Sequence[ModelHealth]
    times: WatchTimes
    trouble: str | None = None
    _live: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._look()
            await asyncio.sleep(self.times.troubled_seconds)

    async def live(self) -> None:
        """Wait until it answers."""
        await self._live.wait()

    async def _look(self) -> None:
        try:
            await self.server.check_live(_LIVE_SECONDS)
        except CallFailed as failure:
            trouble = f"Triton at {self.server.address} {_behaviour(failure)}."
            if self.trouble is None:
                get_logger("inference.triton").warning("server away", error=failure.message)
            self.trouble = trouble
            self._live.clear()
            for health in self.models:
                health.away(trouble)
            return
        if self.trouble is not None:
            get_logger("inference.triton").info("server back")
        self.trouble = None
        self._live.set()


def _behaviour(failure: CallFailed) -> str:
    if failure.fault is Fault.LATE:
        return "takes connections and does not answer"
    if failure.reached:
        return f"does not serve: {failure.message}"
    return f"cannot be reached: {failure.message.rpartition('last error: ')[2]}"


@dataclass
class ModelWatch:
    """One model's canary and, where `may_load`, its revival.

    canary: a small call within a deadline in seconds, a real inference where it is to be thorough; raises CallFailed.
    limit: knows the calls under way.
    """

    server: TritonServer
    server_watch: ServerWatch
    health: ModelHealth
    canary: Canary
    times: WatchTimes
    may_load: bool
    limit: CallLimit
    _looks_unready: int = 0
    _revivals: int = 0

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.server_watch.live()
            await self._look()
            await self._pause()

    async def _pause(self) -> None:
        """Until the next look is due, or something went wrong; never so short that a model is asked without end."""
        await asyncio.sleep(_LEAST_PAUSE_SECONDS)
        seconds = self.times.well_seconds if self.health.trouble is None else self.times.troubled_seconds
        try:
            async with asyncio.timeout(seconds - _LEAST_PAUSE_SECONDS):
                await self.health.suspected.wait()
        except TimeoutError:
            return

    async def _look(self) -> None:
        suspected = self.health.suspected.is_set()
        self.health.suspected.clear()
        if self.health.process_lost:
            await self._restore(f"A process of the model {self.health.model} ended")
            return
        if not suspected and self._at_work():
            return
        before = await self._progress()
        try:
            await self._ask(suspected)
        except CallFailed as failure:
            await self._treat(failure, before)

    def _at_work(self) -> bool:
        """Whether calls tell what a canary would, which costs a batch of its own."""
        heard_seconds = time.monotonic() - self.health.answered_at
        return self.health.trouble is None and self.limit.held > 0 and heard_seconds < _BUSY_LOOKS * self.times.well_seconds

    async def _ask(self, suspected: bool) -> None:
        """A canary may wait behind a full batch, which says nothing; so it gets the time that a batch may take."""
        await self.canary(self.times.stuck_seconds, self.health.trouble is not None or suspected)
        if not self.health.process_lost:
            self._recovered()

    def _recovered(self) -> None:
        if self.health.trouble is not None:
            get_logger("inference.triton").info("model well", model=self.health.model)
        self._looks_unready = self._revivals = 0
        self.health.heal()

    async def _treat(self, failure: CallFailed, before: Progress | None) -> None:
        model = self.health.model
        match failure.fault:
            case Fault.GONE:
                self.health.away(f"Triton at {self.server.address} does not answer for the model {model}.")
            case Fault.REFUSED:
                self.health.ail(f"The model {model} of Triton does not speak our protocol: {failure.message}.")
            case Fault.UNREADY:
                await self._await_loading(failure)
            case Fault.FULL:
                # It has enough to do; a queue that stands still is noticed by those in it.
                if not self.health.process_lost:
                    self._recovered()
            case Fault.LATE:
                await self._check_progress(before)
            case _:
                await self._restore(f"The model {model} does not work: {failure.message.rstrip('.')}")

    async def _await_loading(self, failure: CallFailed) -> None:
        self.health.ail(f"Triton has not loaded the model {self.health.model}: {failure.message.rstrip('.')}.")
        self._looks_unready += 1
        if self.may_load and self._looks_unready >= _PATIENT_LOOKS:
            await self._load(self.server.load)

    async def _check_progress(self, before: Progress | None) -> None:
        """A model that worked while the canary waited is busy; one that finished nothing is stuck."""
        if before is not None and before == await self._progress():
            await self._restore(f"The model {self.health.model} has not finished anything for {self.times.stuck_seconds:.0f} s")

    async def _progress(self) -> Progress | None:
        """None when it cannot be told; a canary tells what is wrong then."""
        try:
            return await self.server.progress(self.health.model)
        except CallFailed:
            return None

    async def _restore(self, trouble: str) -> None:
        """Give the model new processes, unless somebody did meanwhile."""
        if not self.may_load:
            self.health.ail(f"{trouble}, and this service may not reload models: load it again, or restart Triton.")
            await self._look_again(self.times.stuck_seconds)
            return
        self.health.ail(f"{trouble}; it is being reloaded.")
        await asyncio.sleep(random.uniform(0, _JITTER_SECONDS))  # noqa: S311 (replicas notice together)
        if not await self._look_again(_AGAIN_SECONDS):
            await self._load(self.server.reload)

    async def _look_again(self, deadline_seconds: float) -> bool:
        """Whether every process of the model answers, as far as asking twice as often as there are some can tell."""
        try:
            for _ in range(2 * await self._processes()):
                await self.canary(deadline_seconds, True)
        except CallFailed:
            return False
        self._recovered()
        return True

    async def _processes(self) -> int:
        groups = (await self.server.config(self.health.model)).get("instance_group", [])
        return max(1, sum(int(group.get("count", 1)) * max(1, len(group.get("gpus", []))) for group in groups))

    async def _load(self, load: Callable[[str, float], Awaitable[None]]) -> None:
        model, started = self.health.model, time.monotonic()
        try:
            await load(model, self.times.load_seconds)
        except CallFailed as failure:
            semconv.TRITON_REVIVALS.labels(model, "failed").inc()
            get_logger("inference.triton").error("model not reloaded", model=model, error=failure.message)
            self.health.ail(f"Triton did not reload the model {model}: {failure.message.rstrip('.')}.")
            self._revivals += 1
            await asyncio.sleep(_pause_seconds(self._revivals))
            return
        semconv.TRITON_REVIVALS.labels(model, "loaded").inc()
        get_logger("inference.triton").warning("model reloaded", model=model, seconds=round(time.monotonic() - started, 2))
        self.health.process_lost = False
        self.health.suspected.set()


def _pause_seconds(tries: int) -> float:
    """Doubles from 1 s to 10 s, with jitter: what loads badly may take the whole machine to do so."""
    return min(_LAST_PAUSE_SECONDS, 2.0 ** min(tries - 1, 10)) * random.uniform(0.5, 1.0)  # noqa: S311 (jitter)
