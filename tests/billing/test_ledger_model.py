"""Thousands of random operations against a model of a few lines: whatever happens, both say the same."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from services.billing.usecases import ledger
from services.billing.usecases.verification import verify_ledger
from services.mesh.errors import MeshError
from services.mesh.ids import new_id
from tests.billing.stage import MINUTE_MS, Clock, Stage, open_stage

OVERAGE = 50
GRANTS = {"debt": 100, "priced": 200}
CENTS_PER_MINUTE = {"debt": 0, "priced": 7}
JOBS = 8
TOGETHER = 8
# Shrinking plays on a real database would take longer than the test may.
QUICK = (Phase.explicit, Phase.reuse, Phase.generate)

amounts = st.integers(1, 70)
jobs = st.integers(0, JOBS - 1)
ends = st.tuples(st.just("end"), jobs, st.one_of(st.integers(0, 90), st.just(0)))
reserves = st.tuples(st.just("reserve"), jobs, amounts)
others = st.one_of(
    st.tuples(st.just("grant"), st.integers(0, 5), amounts),
    st.tuples(st.just("month"), st.just(0), st.just(0)),
    st.tuples(st.just("forget"), jobs, st.just(0)),
)
operations = st.one_of(reserves, ends, reserves, ends, others)


@dataclass
class Model:
    """What the ledger should be, in minutes."""

    included: int
    cents_per_minute: int
    plan: int = 0
    credit: int = 0
    used: int = 0
    granted: int = 0
    grants: set[int] = field(default_factory=set)
    holds: dict[int, tuple[str, list[int], int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.plan = self.granted = self.included

    def _take(self, amount: int) -> list[int] | None:
        if amount > self.plan + self.credit + OVERAGE:
            return None
        from_plan = min(amount, self.plan)
        self.plan -= from_plan
        self.credit -= amount - from_plan
        return [from_plan, amount - from_plan]

    def reserve(self, job: int, amount: int) -> str:
        if job not in self.holds:
            legs = self._take(amount)
            if legs is None:
                return "NO_CREDITS"
            self.holds[job] = ("OPEN", legs, 0)
        return self.holds[job][0]

    def end(self, job: int, billable: int) -> str:
        if job not in self.holds:
            return "HOLD_NOT_FOUND"
        state, legs, _ = self.holds[job]
        asked = "SETTLED" if billable else "RELEASED"
        if state != "OPEN":
            return state if state == asked else f"HOLD_ALREADY_{state}"
        beyond = min(max(0, billable - sum(legs)), max(0, self.plan + self.credit + OVERAGE))
        extra = self._take(beyond) or [0, 0]
        charge = min(billable, sum(legs) + beyond)
        self.used += charge
        for index, leg in enumerate([*legs, *extra]):
            charged = min(charge, leg)
            charge -= charged
            if index % 2 == 0:
                self.plan += leg - charged
            else:
                self.credit += leg - charged
        self.holds[job] = (asked, legs, billable)
        return asked

    def grant(self, reference: int, amount: int) -> None:
        if reference not in self.grants:
            self.grants.add(reference)
            self.credit += amount
            self.granted += amount

    def month(self) -> None:
        if self.cents_per_minute:
            self.credit += self.overage
        self.plan -= max(0, min(self.plan, self.plan + self.credit))
        self.plan += self.included
        self.used, self.granted = 0, self.included

    @property
    def overage(self) -> int:
        return min(self.used, max(0, -(self.plan + self.credit + self.held)))

    @property
    def held(self) -> int:
        return sum(sum(legs) for state, legs, _ in self.holds.values() if state == "OPEN")


@dataclass
class Actor:
    """Does to the real ledger what is done to the model."""

    stage: Stage
    workspace_id: str
    job_ids: list[str]
    months: int = 0

    async def hold(self, name: str, job: int, value: int) -> str:
        try:
            if name == "reserve":
                amount_ms = value * MINUTE_MS
                held = await ledger.reserve(self.stage.batches, self.workspace_id, self.job_ids[job], amount_ms)
                hold = held.hold
            else:
                hold = await ledger.settle(self.stage.batches, self.job_ids[job], value * MINUTE_MS, self.workspace_id)
        except MeshError as error:
            return error.reason()
        return hold.state

    async def next_month(self) -> None:
        self.months += 1
        self.stage.clock.now = datetime(2026 + self.months // 12, 1 + self.months % 12, 1, tzinfo=UTC)
        await ledger.get_balance(self.stage.billing, self.workspace_id)


async def _act(actor: Actor, model: Model, operation: tuple[str, int, int]) -> None:
    name, key, value = operation
    if name == "month":
        model.month()
        await actor.next_month()
    elif name == "grant":
        model.grant(key, value)
        await ledger.grant_credit(actor.stage.billing, actor.workspace_id, value * MINUTE_MS, f"order-{key}")
    elif model.holds.get(key, ("OPEN",))[0] != "OPEN":
        del model.holds[key]
        actor.job_ids[key] = new_id()


async def _play(plays: list[tuple[str, int, int]], plan: str, directory: Path) -> None:
    url = f"sqlite+aiosqlite:///{directory}/billing.db"
    async with open_stage(url, directory, Clock(datetime(2026, 1, 31, tzinfo=UTC))) as stage:
        actor = Actor(stage, (await stage.workspace(plan)).id, [new_id() for _ in range(JOBS)])
        model = Model(GRANTS[plan], CENTS_PER_MINUTE[plan])
        together: list[tuple[str, int, int]] = []
        for operation in [*plays, ("forget", 0, 0)]:
            if operation[0] in ("reserve", "end") and len(together) < TOGETHER:
                together.append(operation)
                continue
            # Requests that wait together are answered in the order they came.
            outcomes = await asyncio.gather(*(actor.hold(*held) for held in together))
            expected = [model.reserve(job, value) if name == "reserve" else model.end(job, value) for name, job, value in together]
            assert outcomes == expected
            together = [operation] if operation[0] in ("reserve", "end") else []
            if not together:
                await _act(actor, model, operation)
            await _compare(actor, model)
        found = await verify_ledger(stage.billing)
        assert (found.imbalance_ms, found.wrong_account_count) == (0, 0)


async def _compare(actor: Actor, model: Model) -> None:
    balance = await ledger.get_balance(actor.stage.billing, actor.workspace_id)
    seen = (balance.available_ms, balance.held_ms, balance.used_ms, balance.granted_ms)
    expected = (model.plan + model.credit, model.held, model.used, model.granted)
    assert seen == tuple(value * MINUTE_MS for value in expected)
    usage = await ledger.get_usage(actor.stage.billing, actor.workspace_id)
    assert (usage.included_ms, usage.used_ms) == (model.included * MINUTE_MS, model.used * MINUTE_MS)
    assert usage.remaining_ms == max(0, min(model.included - model.used, model.plan + model.credit + model.held)) * MINUTE_MS
    assert (usage.overage_ms, usage.overage_cents) == (model.overage * MINUTE_MS, model.overage * model.cents_per_minute)


@settings(max_examples=10, deadline=None, phases=QUICK)
@given(st.lists(operations, min_size=210, max_size=240), st.sampled_from(sorted(GRANTS)))
def test_ledger_agrees_with_the_model_over_thousands_of_operations(plays: list[tuple[str, int, int]], plan: str) -> None:
    with TemporaryDirectory() as directory:
        asyncio.run(_play(plays, plan, Path(directory)))


# Beyond the hold, a charge depends on what credit is left: there, and only there, the order of events shows.
HELD = 20
endings = st.lists(st.tuples(st.integers(0, 5), st.integers(0, HELD)), min_size=6, max_size=6, unique_by=lambda item: item[0])


async def _ledger_after(deliveries: list[tuple[int, int]], directory: Path) -> list[tuple[object, ...]]:
    url = f"sqlite+aiosqlite:///{directory}/billing.db"
    async with open_stage(url, directory) as stage:
        workspace_id = (await stage.workspace("debt")).id
        job_ids = [new_id() for _ in range(6)]
        for job_id in job_ids:
            await ledger.reserve(stage.batches, workspace_id, job_id, HELD * MINUTE_MS)
        events = [(job_ids[job], billable) for job, billable in deliveries]
        await asyncio.gather(*(ledger.end_job(stage.batches, job_id, workspace_id, billable * MINUTE_MS) for job_id, billable in events))
        accounts = await stage.rows("SELECT kind, debits_pending, debits_posted, credits_pending, credits_posted FROM account")
        transfers = await stage.rows("SELECT id, debit_account, amount_ms FROM transfer ORDER BY id")
        # Ids are random in each run: compare jobs by their number.
        named = {job_id: f"job-{number}" for number, job_id in enumerate(job_ids)} | {workspace_id: "workspace"}
        return [*sorted(accounts), *sorted(tuple(_renamed(value, named) for value in row) for row in transfers)]


def _renamed(value: object, names: dict[str, str]) -> str:
    text = str(value)
    for real, name in names.items():
        text = text.replace(real, name)
    return text


@settings(max_examples=8, deadline=None, phases=QUICK)
@given(st.data(), endings)
def test_events_delivered_again_and_in_any_order_give_the_same_ledger(data: st.DataObject, once: list[tuple[int, int]]) -> None:
    often = data.draw(st.permutations([*once, *once, *data.draw(st.lists(st.sampled_from(once), max_size=10))]))
    with TemporaryDirectory() as first, TemporaryDirectory() as second:
        assert asyncio.run(_ledger_after(often, Path(second))) == asyncio.run(_ledger_after(once, Path(first)))
