"""Mutants of claims, leases, cancelling and deleting."""

from faults.mutants.catalogue.events import TELL_OF_ENDING
from faults.mutants.catalogue.mechanisms import RECONCILING, STATE_TRIGGERS
from faults.mutants.edits import Edit
from faults.mutants.mutant import Mutant, Scenario
from faults.mutants.promises import Promise
from faults.mutants.scenarios import claims, keeping

_WORK = "services/jobs/usecases/work.py"
_FINISH = "services/jobs/usecases/finish.py"
_ENDINGS = "services/jobs/usecases/endings.py"
OVERTAKEN = Scenario("overtaken", claims.overtaken)
GIVEN_UP = Scenario("given up", claims.given_up)
CANCELLED = Scenario("cancelled", claims.cancelled)
REAPER_DIES = Scenario("reaper dies", keeping.reaper_dies)

MUTANTS = (
    Mutant(
        "no fence on results",
        "A result counts whichever claim of the job it comes from.",
        [Edit(_FINISH, " and fence > 0 and row.fence == fence", "")],
        OVERTAKEN,
        Promise.ONE_WINNER,
    ),
    Mutant(
        "no fence on windows",
        "A worker whose claim was overtaken may still store windows.",
        [Edit(_WORK, "row.state != PROCESSING or row.fence != fence", "row.state != PROCESSING")],
        OVERTAKEN,
        Promise.ONE_WINNER,
    ),
    Mutant(
        "claim keeps the fence",
        "A new claim of a job has the fence of the claim before.",
        [
            Edit(
                _WORK,
                "await _take(resources, session, row, worker_id), row.fence + 1",
                "await _take(resources, session, row, worker_id), max(1, row.fence)",
            ),
            Edit(_WORK, "        fence=row.fence + 1,\n", "        fence=max(1, row.fence),\n"),
        ],
        OVERTAKEN,
        Promise.ONE_WINNER,
    ),
    Mutant(
        "claim ignores the lease",
        "A job that a worker holds can be claimed by another.",
        [Edit(_WORK, " or (row.state == PROCESSING and row.lease_until >= row.now)", "")],
        OVERTAKEN,
        Promise.ONE_WINNER,
    ),
    Mutant(
        "losing transcript is kept",
        "The transcript of an overtaken claim stays in storage for ever.",
        [
            Edit(
                _FINISH,
                '    await order_removal(session, "artefact", artefact_id, workspace_id, job_id)\n',
                "    del workspace_id\n",
            )
        ],
        OVERTAKEN,
        Promise.GONE,
    ),
    Mutant(
        "attempts are not counted",
        "A job that kills its workers is handed out for ever.",
        [Edit(_WORK, "        attempt=row.attempt + 1,\n", "")],
        GIVEN_UP,
        Promise.POISON_CONTAINED,
    ),
    Mutant(
        "late result revives a cancelled job",
        "A result counts although the job was cancelled meanwhile.",
        [
            Edit(_FINISH, "row.state in (PROCESSING, QUEUED) and", "row.state in (PROCESSING, QUEUED, 5) and"),
        ],
        CANCELLED,
        Promise.CANCELLED_STAYS,
        without=[STATE_TRIGGERS],
    ),
    Mutant(
        "cancelling keeps the hold",
        "Nobody is told that a job was cancelled, so that its hold stays.",
        [
            Edit(
                _ENDINGS,
                f"    {TELL_OF_ENDING}",
                f"    if not isinstance(event, JobCancelled):\n        {TELL_OF_ENDING}",
            )
        ],
        CANCELLED,
        Promise.CONSERVED,
        without=[RECONCILING],
    ),
    Mutant(
        "cancelling keeps the recording",
        "The bytes of a cancelled job stay in storage.",
        [
            Edit(
                _ENDINGS,
                "    event = JobCancelled(job_id=row.id, workspace_id=row.workspace_id, without_media=row.waiting != READY)\n"
                '    await order_removal(session, "media", row.media_id, row.workspace_id, row.id)\n',
                "    event = JobCancelled(job_id=row.id, workspace_id=row.workspace_id, without_media=row.waiting != READY)\n",
            )
        ],
        CANCELLED,
        Promise.GONE,
    ),
    Mutant(
        "row is removed before its bytes",
        "The reaper forgets a deleted row first, and then removes its bytes.",
        [
            Edit(
                "services/storage/usecases/deletion.py",
                '    fault.point("storage.reap.before_blob")\n'
                "    if row.object_key is not None:\n"
                "        await depot.blobs.delete(row.object_key)\n"
                "    if isinstance(row, Media) and row.upload_key is not None:\n"
                "        await depot.blobs.delete(row.upload_key)\n"
                '    fault.point("storage.reap.before_row")\n'
                "    await depot.database.grouped(lambda session: objects.remove(session, model, row.id))\n",
                "    await depot.database.grouped(lambda session: objects.remove(session, model, row.id))\n"
                '    fault.point("storage.reap.before_row")\n'
                "    if row.object_key is not None:\n"
                "        await depot.blobs.delete(row.object_key)\n"
                "    if isinstance(row, Media) and row.upload_key is not None:\n"
                "        await depot.blobs.delete(row.upload_key)\n",
            )
        ],
        REAPER_DIES,
        Promise.GONE,
    ),
)
