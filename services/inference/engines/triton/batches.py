"""How many requests Triton's models execute at once, as its own statistics tell."""

import asyncio
from collections.abc import Mapping, Sequence

from services.inference.engines.triton.faults import CallFailed
from services.inference.engines.triton.server import TritonServer
from services.mesh import semconv

LOOK_SECONDS = 15.0
# After a pause in which nobody looked there may be any number of them, and each is an observation.
MOST_NEW = 10_000


class BatchWatch:
    """Turns Triton's growing counts into observations, from the first look on: what was before was somebody else's."""

    def __init__(self, server: TritonServer, models: Sequence[str]) -> None:
        self._server = server
        self._models = models
        self._seen: dict[str, Mapping[int, int]] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Observe what each model executed since the last look; one that does not answer is asked again next time."""
        for model in self._models:
            try:
                counts = await self._server.executions(model)
            except CallFailed:
                continue
            if model in self._seen:
                self._observe(model, since(self._seen[model], counts))
            self._seen[model] = counts

    def _observe(self, model: str, new: Mapping[int, int]) -> None:
        histogram = semconv.BATCH_SIZE.labels(model)
        for size, count in new.items():
            for _ in range(min(count, MOST_NEW)):
                histogram.observe(size)


def since(before: Mapping[int, int], now: Mapping[int, int]) -> dict[int, int]:
    """What was added. Counts that shrank began anew, with a model that was loaded again."""
    if any(now.get(size, 0) < count for size, count in before.items()):
        before = {}
    return {size: count - before.get(size, 0) for size, count in now.items()}
