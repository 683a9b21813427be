"""The checker of the harness, over a stage: its history, its API, its tables, its blobs."""

import asyncio
import time
from collections.abc import Sequence

from faults.checker.evidence import Evidence, Violation, ask
from faults.checker.verdict import judge
from faults.history import History
from faults.meshes import embedded_stores
from faults.mutants.promises import Broken
from faults.mutants.stage import Stage
from faults.snapshot import pending, read_snapshot
from tests.e2e.mesh import Mesh

REST_SECONDS = 25.0
_PAUSE_SECONDS = 0.2


async def conclude(stage: Stage) -> None:
    """Wait until nothing is left to do, no longer than that takes a sound product; then judge. Raises Broken."""
    stores, until = embedded_stores(stage.data), time.monotonic() + REST_SECONDS
    while pending(stores) and time.monotonic() < until:
        await asyncio.sleep(_PAUSE_SECONDS)
    violations = await asyncio.to_thread(_judge, stage)
    if violations:
        raise Broken({violation.invariant: f"{violation.subject}: {violation.message}" for violation in violations})


def _judge(stage: Stage) -> Sequence[Violation]:
    history = History(stage.calls)
    job_ids = {job_id for ids in history.accepted().values() for job_id in ids}
    mesh = Mesh(stage.folder, stage.processes["gateway"], stage.ready)
    with mesh.client:
        answers = ask(mesh, job_ids)
    # No blob is past its sweep within a trial.
    snapshot = read_snapshot(embedded_stores(stage.data))
    return judge(Evidence(history, answers, snapshot, swept_before=0.0, workspace_id=stage.ready["workspace_id"]))
