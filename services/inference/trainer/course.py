"""One training from its folder to its detector, through deaths of the process that trains."""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.inference.domain import TrainerDied
from services.inference.trainer.child import TrainerChild, TrainerProgram, open_trainer
from services.inference.trainer.reports import EpochDone, Report, TrainingDone, TrainingEnded
from services.mesh.telemetry import get_logger

CHECKPOINT = "checkpoint.npz"
MOST_DEATHS = 4
_PAUSE_SECONDS = 0.3

Record = Callable[[Sequence[EpochDone]], Awaitable[None]]


@dataclass
class Course:
    """A training in a filled folder. record: keeps epochs, in order; those that come while it does are its next."""

    program: TrainerProgram
    folder: Path
    record: Record
    _last: EpochDone | None = None
    _deaths: int = 0

    async def run(self) -> TrainingDone:
        """Train to the end, from the last epoch again when the process dies.

        Raises TrainerDied at the fourth death without a new epoch, TrainingFailed, and what `record` raises.
        """
        while True:
            try:
                return await self._train()
            except (TrainerDied, OSError) as error:
                self._deaths += 1
                if self._deaths >= MOST_DEATHS:
                    raise
                get_logger("inference.training").warning("trainer restarted", error=str(error), deaths=self._deaths)
            await asyncio.sleep(_PAUSE_SECONDS * self._deaths * random.uniform(0.5, 1.5))  # noqa: S311 (jitter)
            self._rewind()

    async def _train(self) -> TrainingDone:
        async with open_trainer(self.program, self.folder) as child:
            try:
                return await self._follow(child)
            except TrainerDied:
                get_logger("inference.training").warning("trainer died", last_words=child.last_words())
                raise

    async def _follow(self, child: TrainerChild) -> TrainingDone:
        while True:
            reports = await _all_waiting(child.reports)
            epochs = [report for report in reports if isinstance(report, EpochDone)]
            if epochs:
                await self._keep(epochs)
            match reports[-1]:
                case TrainingDone() as done:
                    return done
                case TrainingEnded(error):
                    raise error

    async def _keep(self, epochs: Sequence[EpochDone]) -> None:
        await self.record(epochs)
        for epoch in [*([self._last] if self._last else []), *epochs[:-1]]:
            if epoch.checkpoint != epochs[-1].checkpoint:
                epoch.checkpoint.unlink(missing_ok=True)
        self._last, self._deaths = epochs[-1], 0

    def _rewind(self) -> None:
        """What was recorded last is where the next process goes on, whatever this one wrote after."""
        if self._last is not None:
            (self.folder / CHECKPOINT).unlink(missing_ok=True)
            os.link(self._last.checkpoint, self.folder / CHECKPOINT)


async def _all_waiting(reports: asyncio.Queue[Report]) -> Sequence[Report]:
    """At least one."""
    found = [await reports.get()]
    while not reports.empty():
        found.append(reports.get_nowait())
    return found
