"""Loops: checking the ledger and storing when keys were used."""

import asyncio

from services.billing.usecases.authentication import KeyUses, store_uses
from services.billing.usecases.billing import Billing
from services.billing.usecases.verification import Verifier
from services.mesh import semconv
from services.mesh.errors import Unavailable
from services.mesh.lifecycle import wait_or_stop
from services.mesh.telemetry import get_logger

STORE_USES_SECONDS = 5.0
_logger = get_logger("billing.workers")


async def check_ledger(verifier: Verifier) -> None:
    """Check the ledger once; the metrics and, if it is wrong, the log tell what was found."""
    found = await verifier.turn()
    semconv.LEDGER_CHECK_TIME_SECONDS.set_to_current_time()
    semconv.LEDGER_IMBALANCE_MS.set(found.imbalance_ms)
    semconv.LEDGER_WRONG_ACCOUNTS.set(found.wrong_account_count)
    semconv.LEDGER_OPEN_HOLDS.set(found.open_hold_count)
    if not found.is_sound:
        _logger.error("ledger is wrong", imbalance_ms=found.imbalance_ms, wrong_account_count=found.wrong_account_count)


async def keep_checking_ledger(verifier: Verifier, interval_seconds: float, stopping: asyncio.Event) -> None:
    """Check the ledger at start and then at every interval."""
    while True:
        try:
            await check_ledger(verifier)
        except Unavailable as error:
            _logger.warning("ledger not checked", error=str(error))
        if await wait_or_stop(stopping, interval_seconds):
            return


async def keep_storing_uses(billing: Billing, uses: KeyUses, stopping: asyncio.Event) -> None:
    """Store when keys were used, a few seconds later and once more at the end."""
    stopped = False
    while not stopped:
        stopped = await wait_or_stop(stopping, STORE_USES_SECONDS)
        try:
            await store_uses(billing, uses)
        except Unavailable as error:
            _logger.warning("key uses not stored", error=str(error))
