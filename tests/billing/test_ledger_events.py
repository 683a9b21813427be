"""Events of jobs that come more than once and in any order (I-14); the rest of the ledger is compared with a model in tests/faults."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from services.billing.usecases import ledger
from services.mesh.ids import new_id
from tests.billing.stage import MINUTE_MS, open_stage

# Shrinking plays on a real database would take longer than the test may.
QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
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
