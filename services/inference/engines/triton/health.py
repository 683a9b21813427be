"""Whether a model answers, what is wrong when it does not, and waiting until it does."""

import asyncio
import time

from services.inference.engines.triton.faults import Fault
from services.mesh import semconv


class ModelHealth:
    """What is known of one model. trouble: a sentence, None while it is well. away_at: when the whole server was last found away."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.trouble: str | None = None
        self.answered_at = self.away_at = float("-inf")
        self.suspected = asyncio.Event()
        self.process_lost = self._is_away = False
        self._changed = asyncio.Event()
        self.ail(f"The model {model} has not answered yet.")

    def answered(self) -> None:
        """Note that it answered just now: the server is back. It ends no other trouble, for another of its processes may be dead."""
        if self._is_away:
            self.heal()
            return
        self.answered_at = time.monotonic()
        self._tell()

    def heal(self) -> None:
        """End its trouble: it was asked, and answered."""
        self.trouble, self.process_lost, self._is_away = None, False, False
        semconv.TRITON_MODEL_WELL.labels(self.model).set(1)
        self.answered()

    def ail(self, trouble: str) -> None:
        """Keep calls away until it is well again."""
        self.trouble, self._is_away = trouble, False
        semconv.TRITON_MODEL_WELL.labels(self.model).set(0)
        self._tell()

    def away(self, trouble: str) -> None:
        """Keep calls away, which is not the model's fault."""
        self.away_at = time.monotonic()
        if not self.process_lost:
            self.ail(trouble)
            self._is_away = True

    def suspect(self, fault: Fault) -> None:
        """Have it asked soon: a call went wrong."""
        if fault is Fault.DEAD:
            # Without waiting for proof: a model of several processes answers half of its calls, and nothing else tells of the other half.
            self.process_lost = True
            self.ail(f"A process of the model {self.model} ended.")
        self.suspected.set()

    async def well(self, since: float = float("-inf")) -> None:
        """Wait, however long, until it has no trouble and has answered after the moment (of the monotonic clock)."""
        while self.trouble is not None or self.answered_at <= since:
            await self._changed.wait()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
