"""Mutants of idempotency, transactions at the same moment, and tenancy."""

from faults.mutants.catalogue.mechanisms import GATEWAY_COMPARISON, ONE_WRITER, ORDER_TURNS
from faults.mutants.edits import Edit
from faults.mutants.mutant import Mutant, Scenario
from faults.mutants.promises import Promise
from faults.mutants.scenarios import orders

_INTAKE = "services/jobs/usecases/intake.py"
_STORE = "services/jobs/store/jobs.py"
RACED = Scenario("one key raced", orders.key_raced)
CRASHED = Scenario("crash after an order is stored", orders.key_crashed)
REUSED = Scenario("one key for two orders", orders.key_reused)
AT_ONCE = Scenario("many cancelled at once", orders.many_at_once)
OTHERS = Scenario("read by others", orders.read_by_others)

MUTANTS = (
    Mutant(
        "key looked up before the transaction",
        "Whether a key is free is asked before the transaction that stores the job, and not again in it.",
        [
            Edit(
                _INTAKE,
                "    first = [order for order in timely if order.client_key is None or order.job_id in taken]\n",
                "    first = timely\n",
            )
        ],
        RACED,
        Promise.ONE_JOB,
        without=[ORDER_TURNS],
    ),
    Mutant(
        "key stored after the transaction",
        "A key is stored in a transaction of its own, after that of its job.",
        [
            Edit(_INTAKE, "    taken = await take_keys(session, uses)\n", "    taken = set(uses)\n"),
            Edit(
                _INTAKE,
                '        fault.point("jobs.create.after_commit")\n',
                '        fault.point("jobs.create.after_commit")\n'
                "        orders = [waiting.order for waiting in batch if waiting.order.client_key]\n"
                "        uses = {order.job_id: KeyUse(order.client_key, order.fingerprint, order.key_ttl) for order in orders}\n"
                "        await self._database.grouped(lambda session: take_keys(session, uses))\n",
            ),
        ],
        CRASHED,
        Promise.ONE_JOB,
    ),
    Mutant(
        "key stands for any order",
        "A key answers with its job whatever the order is.",
        [Edit("services/jobs/usecases/create.py", "    if row.fingerprint != order.fingerprint or row.owner", "    if row.owner")],
        REUSED,
        Promise.KEY_COMPARED,
        without=[GATEWAY_COMPARISON],
    ),
    Mutant(
        "deferred BEGIN",
        "A transaction takes the write lock at its first write, after it has read.",
        [Edit("services/mesh/engines.py", 'begin="BEGIN IMMEDIATE", connections=8', 'begin="BEGIN", connections=8')],
        AT_ONCE,
        Promise.SIMULTANEOUS,
        without=[ONE_WRITER],
    ),
    Mutant(
        "jobs are read whoever owns them",
        "A job is found by its id alone.",
        [
            Edit(
                _STORE,
                'JOB.c.workspace_id == bindparam("workspace_id"), JOB.c.delete_time.is_(None))\n',
                'JOB.c.workspace_id.is_not(None) | (JOB.c.workspace_id == bindparam("workspace_id")), JOB.c.delete_time.is_(None))\n',
            )
        ],
        OTHERS,
        Promise.HIDDEN,
    ),
    Mutant(
        "jobs are changed whoever owns them",
        "A job is cancelled by its id alone.",
        [
            Edit(
                _STORE,
                "    mine = (JOB.c.id == job_id, JOB.c.workspace_id == workspace_id, JOB.c.delete_time.is_(None))\n",
                "    mine = (JOB.c.id == job_id, JOB.c.delete_time.is_(None))\n",
            )
        ],
        OTHERS,
        Promise.HIDDEN,
    ),
)
