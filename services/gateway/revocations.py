"""The gateway's connection to the bus: forgets revoked API keys as soon as the bus tells of them."""

import asyncio

from services.mesh.api_keys import ApiKeys
from services.mesh.bus import Bus, open_bus
from services.mesh.streams import event_subject
from services.mesh.tls.certificates import Certificates
from steno.billing.v1.billing_events_pb2 import KeyRevoked

_CLOSE_SECONDS = 6.0


class Revocations:
    """Serves without the bus too: a revoked key then works until its answer is forgotten anyway."""

    def __init__(self, nats_url: str, keys: ApiKeys, tls: Certificates | None = None) -> None:
        self._nats_url = nats_url
        self._tls = tls
        self._keys = keys
        self._bus: Bus | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        """Listen until stopping. The gateway serves meanwhile, and while the bus is away."""
        listening = asyncio.create_task(self._listen(stopping), name="revocations")
        stop = asyncio.create_task(stopping.wait(), name="revocations stop")
        try:
            await asyncio.wait({listening, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            listening.cancel()
            await asyncio.wait({listening, stop}, timeout=_CLOSE_SECONDS)
        if listening.done() and not listening.cancelled() and (failure := listening.exception()) is not None:
            raise failure

    @property
    def bus(self) -> Bus | None:
        """The bus, once it was reached."""
        return self._bus

    async def connected(self) -> bool:
        """Whether the bus answers. Raises ServiceUnavailable when it does not."""
        if self._bus is None:
            return False
        await self._bus.check()
        return True

    async def _listen(self, stopping: asyncio.Event) -> None:
        async with open_bus(self._nats_url, name="gateway", tls=self._tls) as bus:
            async with bus.watch(event_subject("billing", KeyRevoked), self._keys.forget_revoked):
                self._bus = bus
                await stopping.wait()
