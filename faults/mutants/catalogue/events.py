"""Mutants of outbox, inbox, acknowledgements, and what makes up for a lost queue."""

from faults.mutants.catalogue.mechanisms import RECALL_FROM_EMPTY_QUEUE, RECONCILING, SWEEPING
from faults.mutants.edits import Edit
from faults.mutants.mutant import Mutant, Scenario
from faults.mutants.promises import Promise
from faults.mutants.scenarios import events, keeping

_OUTBOX = "services/mesh/outbox.py"
_FINISH = "services/jobs/usecases/finish.py"
TELL_OF_ENDING = (
    'await publish_later(session, outbox, event_subject("jobs", type(event)), event, trace_parent=current_parent() or job_parent)\n'
)
_ENDINGS = "services/jobs/usecases/endings.py"
_CONSUMPTION = "services/mesh/consumption.py"
BEFORE_PUBLISH = Scenario("crash before an ending is published", events.crash_at("jobs", "outbox.event.before_publish"))
AFTER_COMMIT = Scenario("crash after a result is stored", events.crash_at("jobs", "jobs.complete_work.after_commit"))
BEFORE_COMMIT = Scenario("crash before a result is stored", events.crash_at("jobs", "jobs.complete_work.before_commit"))
CHARGE_CRASH = Scenario("crash before a charge", events.crash_at("billing", "billing.ending.before_effect"))
ERROR = Scenario("error before a result is stored", events.error_at("jobs", "jobs.complete_work.before_commit"))
CANCEL_BREAKS_OFF = Scenario("cancelling breaks off", events.cancel_breaks_off)
WORK_LOST = Scenario("work lost with the store", events.work_lost)
ENDING_LOST = Scenario("ending lost with the store", events.ending_lost)
UNREADABLE = Scenario("unreadable message", events.unreadable)
STOPPING = Scenario("told to stop", keeping.told_to_stop, judged=False, alone=True)

MUTANTS = (
    Mutant(
        "marked sent before published",
        "The relay marks events as sent, and then publishes them.",
        [
            Edit(
                _OUTBOX,
                "        results = await self._publish(rows)\n"
                "        async with self._database.transaction() as session:\n"
                "            return await self._record(session, results)\n",
                "        async with self._database.transaction() as session:\n"
                "            await self._record(session, [_Result(row.id, row.attempts, None) for row in rows])\n"
                "        return len(await self._publish(rows))\n",
            )
        ],
        BEFORE_PUBLISH,
        Promise.CONSERVED,
        without=[RECONCILING],
    ),
    Mutant(
        "event after the commit",
        "The event of an ending is stored in a transaction of its own, after that of its cause.",
        [
            Edit(
                _ENDINGS,
                f"    {TELL_OF_ENDING}",
                f"    if not isinstance(event, JobSucceeded):\n        {TELL_OF_ENDING}",
            ),
            Edit(
                _FINISH,
                "    if job is not None:\n        resources.announce(job)\n    else:\n",
                "    if job is not None:\n"
                "        from services.jobs.store.tables import outbox\n"
                "        from services.mesh.outbox import publish_later\n"
                "        from services.mesh.streams import event_subject\n"
                "        from steno.jobs.v1.jobs_events_pb2 import JobSucceeded\n\n"
                "        event = JobSucceeded(job_id=job.id, workspace_id=job.workspace_id, billable_ms=job.billable_ms)\n"
                "        async with resources.database.transaction() as session:\n"
                '            await publish_later(session, outbox, event_subject("jobs", JobSucceeded), event)\n'
                "        resources.announce(job)\n    else:\n",
            ),
        ],
        AFTER_COMMIT,
        Promise.CONSERVED,
        without=[RECONCILING],
    ),
    Mutant(
        "event before the commit",
        "The event of a cancellation is stored in a transaction of its own, before that of its cause.",
        [
            Edit(
                "services/jobs/usecases/cancel.py",
                "    job: Job | None = None\n"
                "    async with resources.database.transaction() as session:\n"
                "        row = await lock_own(session, caller, job_id)\n",
                "    from services.jobs.store.tables import outbox\n"
                "    from services.mesh.outbox import publish_later\n"
                "    from services.mesh.streams import event_subject\n"
                "    from steno.jobs.v1.jobs_events_pb2 import JobCancelled\n\n"
                "    job: Job | None = None\n"
                "    async with resources.database.transaction() as session:\n"
                "        row = await lock_own(session, caller, job_id)\n"
                "        event = JobCancelled(job_id=job_id, workspace_id=row.workspace_id)\n"
                "        if row.state not in ENDED:\n"
                '            await publish_later(session, outbox, event_subject("jobs", JobCancelled), event)\n'
                "    async with resources.database.transaction() as session:\n"
                "        row = await lock_own(session, caller, job_id)\n",
            )
        ],
        CANCEL_BREAKS_OFF,
        Promise.SETTLED_ONCE,
    ),
    Mutant(
        "acknowledged before handled",
        "A message is acknowledged when it arrives, not when its effect is committed.",
        [
            Edit(
                _CONSUMPTION,
                "                await self._handle(delivery_of(message))\n",
                "                await self._acknowledge(message, disconnects)\n                await self._handle(delivery_of(message))\n",
            )
        ],
        BEFORE_COMMIT,
        Promise.ENDS,
        without=[SWEEPING],
    ),
    Mutant(
        "charge acknowledged before made",
        "The ending of a job is acknowledged before its hold is charged.",
        [
            Edit(
                _CONSUMPTION,
                "                await self._handle(delivery_of(message))\n",
                "                await self._acknowledge(message, disconnects)\n                await self._handle(delivery_of(message))\n",
            )
        ],
        CHARGE_CRASH,
        Promise.CONSERVED,
        without=[RECONCILING],
    ),
    Mutant(
        "failed message is acknowledged",
        "A message whose handling failed is not asked for again.",
        [
            Edit(
                _CONSUMPTION,
                "        if self._spec.max_tries is not None and deliveries >= self._spec.max_tries",
                "        await message.ack()\n"
                '        return "failed"\n'
                "        if self._spec.max_tries is not None and deliveries >= self._spec.max_tries",
            )
        ],
        ERROR,
        Promise.ENDS,
        without=[SWEEPING],
    ),
    Mutant(
        "inbox outside of the transaction",
        "That an event was taken is committed before its effect is.",
        [
            Edit(
                _FINISH,
                "        if await first_time(session, inbox, consumer, event_id):\n"
                "            row = await lock_job(session, result.job_id)\n",
                "        first = await first_time(session, inbox, consumer, event_id)\n"
                "    async with resources.database.transaction() as session:\n"
                "        if first:\n            row = await lock_job(session, result.job_id)\n",
            )
        ],
        BEFORE_COMMIT,
        Promise.ENDS,
        without=[SWEEPING],
    ),
    Mutant(
        "no recall from a replaced queue",
        "That the queue's store was lost goes unnoticed.",
        [Edit("services/jobs/workers.py", "            await recall_all(self._resources)\n", "            pass\n")],
        WORK_LOST,
        Promise.RECOVERS_WORK,
        without=[RECALL_FROM_EMPTY_QUEUE],
    ),
    Mutant(
        "lost endings stay lost",
        "Holds of jobs that have ended are not looked for.",
        [
            Edit(
                "services/jobs/usecases/reconcile.py",
                "    return (Verdict.SETTLE, ended.billable_ms) if ended.state == DONE else (Verdict.RELEASE, 0)\n",
                "    return Verdict.KEEP, 0\n",
            )
        ],
        ENDING_LOST,
        Promise.CONSERVED,
    ),
    Mutant(
        "poison message for ever",
        "A message that can never be read is delivered again and again.",
        [
            Edit(
                _CONSUMPTION,
                "            return await self._dead_letter(message, refusal.reason)\n",
                '            return await self._delay(message, f"retried {refusal.reason}")\n',
            )
        ],
        UNREADABLE,
        Promise.BURIED,
    ),
    Mutant(
        "swallowed cancellation",
        "A loop takes its own cancellation for one more failure, and goes on.",
        [
            Edit(
                _OUTBOX,
                "            except ServiceUnavailable as error:\n"
                '                self._logger.warning("outbox not measured", service=self._database.schema, error=str(error))\n'
                "                await asyncio.sleep(_MEASURE_SECONDS)\n",
                "            except (ServiceUnavailable, asyncio.CancelledError) as error:\n"
                '                self._logger.warning("outbox not measured", service=self._database.schema, error=str(error))\n',
            )
        ],
        STOPPING,
        Promise.STOPS,
    ),
)
