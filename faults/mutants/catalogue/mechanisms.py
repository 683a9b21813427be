"""Mechanisms of the product that put right, or refuse, what a mutant does wrong; and how each is switched off."""

from faults.mutants.edits import Edit, Mechanism

RECONCILING = Mechanism(
    "reconciling open holds",
    [
        Edit(
            "services/jobs/workers.py",
            "        self._walk = await reconcile_holds(self._resources, self._walk)\n",
            "        return\n",
        )
    ],
)
SWEEPING = Mechanism(
    "sweeping expired leases",
    [Edit("services/jobs/workers.py", "        await sweep_leases(self._resources)\n", "")],
)
RECALL_FROM_EMPTY_QUEUE = Mechanism(
    "recalling work from an empty queue",
    [
        Edit(
            "services/jobs/workers.py",
            "                await recall_lost(self._resources, [kind], queue_is_empty=True)\n",
            "                pass\n",
        )
    ],
)
STATE_TRIGGERS = Mechanism(
    "the triggers on a job's states",
    [
        Edit(
            "services/jobs/migrations/versions/0002_owners_and_waiting.py",
            '    for name, (condition, message) in guards.items():\n        op.execute(f"CREATE TRIGGER {name} BEFORE UPDATE',
            '    for name, (condition, message) in {}.items():\n        op.execute(f"CREATE TRIGGER {name} BEFORE UPDATE',
        )
    ],
)
ORDER_TURNS = Mechanism(
    "orders of one key waiting for each other",
    [
        Edit(
            "services/jobs/usecases/create.py",
            "    async with resources.orders.of(repr(order.client_key or order.job_id)):\n",
            "    async with resources.orders.of(order.job_id):\n",
        )
    ],
)
GATEWAY_COMPARISON = Mechanism(
    "the gateway's own comparison of orders",
    [
        Edit(
            "services/gateway/submissions.py",
            "            earlier = await self._find(key) if key else None\n",
            "            earlier = None\n",
        )
    ],
)
# A hold ends once: a transfer's own id and that of the hold which it ends are unique, by an index and by a trigger; the hold's row changes
# only while it is open, by the statement and by a trigger; and no account has less than nothing pending.
ENDING_CONSTRAINTS = Mechanism(
    "the constraints on the endings of holds",
    [
        Edit(
            "services/billing/migrations/versions/0001_ledger.py",
            '        sa.UniqueConstraint("pending_id", name="uq_transfer_pending_id"),\n',
            "",
        ),
        Edit(
            "services/billing/migrations/versions/0001_ledger.py",
            '        *(sa.CheckConstraint(f"{name} >= 0", name=op.f(f"ck_account_{name}")) for name in totals),\n',
            "",
        ),
        Edit(
            "services/billing/migrations/versions/0001_ledger.py",
            "FROM transfer WHERE id = NEW.id OR pending_id = NEW.pending_id)",
            "FROM transfer WHERE id = NEW.id)",
        ),
        Edit(
            "services/billing/migrations/versions/0001_ledger.py",
            "CREATE TRIGGER hold_ends_once BEFORE UPDATE ON hold WHEN OLD.state <> 'OPEN' BEGIN",
            "CREATE TRIGGER hold_ends_once BEFORE UPDATE ON hold WHEN FALSE BEGIN",
        ),
        Edit(
            "services/billing/domain.py",
            "        id=_leg_id(kind, hold.job_id, number),\n        kind=kind,\n",
            "        id=_leg_id(kind, hold.job_id, number) + str(__import__('time').time_ns()),\n        kind=kind,\n",
        ),
        Edit(
            "services/billing/store/ledger.py",
            'update(_hold)\n    .where(_hold.c.job_id == bindparam("job"), _hold.c.state == HoldState.OPEN.value)\n    .values({name',
            'update(_hold)\n    .where(_hold.c.job_id == bindparam("job"))\n    .values({name',
        ),
    ],
)
ACCOUNT_FLOORS = Mechanism(
    "the floors of accounts",
    [
        Edit(
            "services/billing/store/ledger.py",
            '            "below_zero": limit_ms if spends else _NO_FLOOR,\n',
            '            "below_zero": _NO_FLOOR,\n',
        )
    ],
)
ONE_WRITER = Mechanism(
    "one writer at a time within a process",
    [
        Edit(
            "services/mesh/database.py",
            'asyncio.Semaphore(1 if dialect == "sqlite" else 1024)',
            "asyncio.Semaphore(1024)",
        ),
        Edit(
            "services/mesh/engines.py",
            'return _sqlite_engine(url, begin="BEGIN IMMEDIATE", connections=1)',
            'return _sqlite_engine(url, begin="BEGIN IMMEDIATE", connections=8)',
        ),
    ],
)
