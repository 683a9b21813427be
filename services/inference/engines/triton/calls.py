"""One model's calls: each waits while the model cannot answer and goes on by itself when it can."""

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from services.inference.engines.triton.faults import CallFailed, Fault
from services.inference.engines.triton.health import ModelHealth
from services.inference.engines.triton.limit import CallLimit
from services.inference.engines.triton.server import TritonServer
from services.inference.triton.wire import PRIORITY_LEVELS
from services.mesh import semconv
from services.mesh.telemetry import get_logger

MOST_FAILURES = 3
MOST_LOSSES = 5
SUSPICIOUS_LOSSES = 2
_FIRST_PAUSE_SECONDS = 0.1
_LAST_PAUSE_SECONDS = 2.0
_OWN_FAULTS = (Fault.FAILED, Fault.LATE)


@dataclass
class Tries:
    """What happened to one request. failures: the model raised, or took too long. losses: server or model process ended with it in hand."""

    failures: int = 0
    losses: int = 0
    refusals: int = 0

    def count(self, failure: CallFailed, *, away: bool) -> bool:
        """Count a failure; True when the request is to be given up. away: the whole server was, meanwhile."""
        if failure.fault in _OWN_FAULTS:
            self.failures += not away
        elif failure.reached:
            self.losses += 1
        return self.failures >= MOST_FAILURES or self.losses >= MOST_LOSSES


@dataclass
class ModelCalls:
    """The way to one model. deadline_seconds: of one request, its time in the model's queue included."""

    server: TritonServer
    health: ModelHealth
    limit: CallLimit
    deadline_seconds: float
    _alone: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def ask(self, inputs: Mapping[str, npt.NDArray[Any]], priority: int = 0) -> dict[str, npt.NDArray[Any]]:
        """The model's answer, as soon as there is one.

        Waits without a limit while server or model are not well or full. Raises CallFailed at once for what is refused, and after
        3 failures or 5 losses of a request that the model was well before and after.
        """
        tries = Tries()
        while True:
            await self.health.well()
            started = time.monotonic()
            try:
                return await self._try(inputs, priority, tries)
            except CallFailed as failure:
                semconv.TRITON_RETRIES.labels(self.health.model, failure.fault).inc()
                await self._recover(failure, tries, started)

    async def _try(self, inputs: Mapping[str, npt.NDArray[Any]], priority: int, tries: Tries) -> dict[str, npt.NDArray[Any]]:
        if tries.losses < SUSPICIOUS_LOSSES:
            return await self._once(inputs, priority)
        # What two dying processes had in hand may have killed them: one at a time, so that it takes no others along.
        async with self._alone:
            return await self._once(inputs, priority)

    async def _once(self, inputs: Mapping[str, npt.NDArray[Any]], priority: int) -> dict[str, npt.NDArray[Any]]:
        model = self.health.model
        async with self.limit.slot(priority):
            with semconv.TRITON_CALLS.labels(model).track_inprogress(), semconv.TRITON_CALL_SECONDS.labels(model).time():
                outputs = await self.server.infer(
                    model, inputs, deadline_seconds=self.deadline_seconds, priority=min(priority + 1, PRIORITY_LEVELS)
                )
            self.limit.grow()
        self.health.answered()
        return outputs

    async def _recover(self, failure: CallFailed, tries: Tries, started: float) -> None:
        """Return when the request may be made again. Raises the failure when it is to be given up."""
        failed_at = time.monotonic()
        match failure.fault:
            case Fault.REFUSED:
                raise failure
            case Fault.FULL:
                self.limit.shrink()
                tries.refusals += 1
                await asyncio.sleep(_pause_seconds(tries.refusals))
            case _:
                get_logger("inference.triton").debug("call failed", model=self.health.model, fault=failure.fault, error=failure.message)
                self.health.suspect(failure.fault)
                await self.health.well(since=failed_at)
                if tries.count(failure, away=self.health.away_at > started):
                    raise failure


def _pause_seconds(refusals: int) -> float:
    """Doubles from 0.1 s to 2 s, with jitter."""
    longest: float = min(_LAST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(refusals - 1, 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 (jitter)
