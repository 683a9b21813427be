"""Mutants of holds and charges."""

from faults.mutants.catalogue.mechanisms import ACCOUNT_FLOORS, ENDING_CONSTRAINTS
from faults.mutants.edits import Edit
from faults.mutants.mutant import Mutant, Scenario
from faults.mutants.promises import Promise
from faults.mutants.scenarios import money

_ENDINGS = "services/jobs/usecases/endings.py"
_ENGINES = "services/mesh/engines.py"
# The longest from hold to job is shorter than the age at which a hold without a job is nobody's.
_ORPHANS = {"STENO_JOBS_RESERVE_SECONDS": "6", "STENO_JOBS_ORPHAN_HOLD_SECONDS": "8"}
CHARGED = Scenario("shorter than measured", money.charged)
FAILED = Scenario("failed", money.failed)
TOLD_TWICE = Scenario("told twice", money.told_twice)
LEFT_BEHIND = Scenario("hold left behind", money.hold_left_behind, _ORPHANS)
HALF_WRITTEN = Scenario("hold half written", money.half_written, _ORPHANS)
BILLING_AWAY = Scenario("billing away", money.billing_away)
OVERDRAWN = Scenario("overdrawn", money.overdrawn, {"STENO_BILLING_PLANS_FILE": "{folder}/plans.toml"}, {"plans.toml": money.minute_plans})

MUTANTS = (
    Mutant(
        "charged as measured",
        "A job is charged what its header promised, not what was decoded.",
        [Edit(_ENDINGS, "    billable_ms = max(0, min(result.billable_ms, row.held_ms))\n", "    billable_ms = row.held_ms\n")],
        CHARGED,
        Promise.CHARGED_DECODED,
    ),
    Mutant(
        "failure is charged",
        "A job that failed is told to billing as one that is done.",
        [
            Edit(
                _ENDINGS,
                "    event = JobFailed(job_id=row.id, workspace_id=row.workspace_id, error=error, without_media=row.waiting != READY)\n",
                "    event = JobSucceeded(job_id=row.id, workspace_id=row.workspace_id, billable_ms=row.held_ms)\n",
            )
        ],
        FAILED,
        Promise.UNCHARGED,
    ),
    Mutant(
        "hold ends twice",
        "An ending is charged again when it is told again.",
        [
            Edit(
                "services/billing/usecases/book.py",
                "        if hold.state != HoldState.OPEN:\n            return Held(_ended(hold, billable_ms), page.plan)\n",
                "",
            )
        ],
        TOLD_TWICE,
        Promise.SETTLED_ONCE,
        without=[ENDING_CONSTRAINTS],
    ),
    Mutant(
        "orphan hold is kept",
        "A hold whose job never came to be is not given back.",
        [
            Edit(
                "services/jobs/usecases/reconcile.py",
                "if now > _orphan_time(resources, hold) else Verdict.KEEP), 0\n",
                "if now.year > 9000 else Verdict.KEEP), 0\n",
            )
        ],
        LEFT_BEHIND,
        Promise.CONSERVED,
    ),
    Mutant(
        "no transactions",
        "Every statement commits by itself.",
        [
            Edit(_ENGINES, 'begin="BEGIN IMMEDIATE", connections=1', 'begin="SELECT 1", connections=1'),
        ],
        HALF_WRITTEN,
        Promise.SETTLED_ONCE,
    ),
    Mutant(
        "free when billing is away",
        "A job is accepted without a hold when billing does not answer.",
        [
            Edit(
                "services/jobs/usecases/peers.py",
                '    with reaching("billing"):\n'
                "        answer = await resources.billing.Reserve(ReserveRequest(job_id=job_id, amount_ms=amount_ms))\n",
                "    try:\n"
                "        answer = await resources.billing.Reserve(ReserveRequest(job_id=job_id, amount_ms=amount_ms))\n"
                "    except RemoteError as error:\n"
                "        if error.code not in NO_ANSWER:\n"
                "            raise\n"
                "        return Plan(retention_days=_LONGEST_RETENTION_DAYS)\n",
            )
        ],
        BILLING_AWAY,
        Promise.SETTLED_ONCE,
    ),
    Mutant(
        "no look at the balance",
        "A hold is taken whatever there is left.",
        [
            Edit(
                "services/billing/domain.py",
                "    if amount_ms > funds.spendable_ms:\n",
                "    if amount_ms > funds.spendable_ms + UNLIMITED_MS:\n",
            )
        ],
        OVERDRAWN,
        Promise.NO_OVERDRAFT,
        without=[ACCOUNT_FLOORS],
    ),
)
