"""Certificates of a running `steno up --tls`: renewed in time, and told to nats-server, which reads them when it is told to."""

import asyncio
import signal

from services.mesh.lifecycle import wait_or_stop
from services.mesh.telemetry import get_logger
from services.stack.certificates.folder import CertificateFolder, make_certificates
from services.stack.children import Child

_EVERY_SECONDS = 5.0


async def keep_certificates(
    folder: CertificateFolder, nats: Child, stopping: asyncio.Event, *, every_seconds: float = _EVERY_SECONDS
) -> None:
    """Renew what is due and let nats-server read its own whenever it differs, until stopping. The services read theirs by themselves."""
    logger = get_logger("stack")
    told = await asyncio.to_thread(folder.of("nats").certificate.read_bytes)
    while not await wait_or_stop(stopping, every_seconds):
        try:
            await asyncio.to_thread(make_certificates, folder)
            there = await asyncio.to_thread(folder.of("nats").certificate.read_bytes)
        except (OSError, ValueError) as error:
            logger.error("certificates cannot be renewed", error=str(error))  # noqa: TRY400 (the trace tells an operator nothing)
            continue
        if there != told and nats.process is not None and nats.process.returncode is None:
            nats.process.send_signal(signal.SIGHUP)
            told = there
