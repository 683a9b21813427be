"""The verifier speaks up when, and only when, the ledger is wrong."""

import time

from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.billing import workers
from services.billing.usecases import ledger
from services.billing.usecases.verification import Verifier
from services.mesh.ids import new_id
from tests.billing.stage import MINUTE_MS, Stage


async def test_a_wrong_ledger_is_measured_and_logged_as_an_error(stage: Stage) -> None:
    workspace = await stage.workspace()
    await ledger.reserve(stage.batches, workspace.id, new_id(), MINUTE_MS)
    verifier = Verifier(stage.billing)
    with capture_logs() as logs:
        await workers.check_ledger(verifier)
    assert logs == []
    assert _metric("imbalance_ms") == _metric("wrong_accounts") == 0
    assert _metric("open_holds") == 1

    await stage.write("UPDATE account SET credits_posted = credits_posted + 5 WHERE kind = 'usage'")
    with capture_logs() as logs:
        await workers.check_ledger(verifier)
    assert [(entry["log_level"], entry["imbalance_ms"]) for entry in logs] == [("error", 5)]
    assert (_metric("imbalance_ms"), _metric("wrong_accounts")) == (5, 1)
    assert time.time() - (_metric("check_time_seconds") or 0) < 60


def _metric(name: str) -> float | None:
    return REGISTRY.get_sample_value(f"steno_ledger_{name}")
