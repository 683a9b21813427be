"""Parallel submits against credit for half of them: exactly those are accepted, the others are refused for credit."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

from faults.campaign import Figure, Options
from faults.meshes import World, open_world
from faults.plans import plans_with
from faults.races import Racers, new_customer, no_worker, open_racers, second_gateway, write_clip
from tests.e2e.ledger import read_ledger

SHORT_ROUNDS, LONG_ROUNDS = 2, 50
SHORT_SUBMITS, LONG_SUBMITS = 60, 200
MINUTES = 2


def run(options: Options) -> Sequence[Figure]:
    """Rounds of a new workspace each, through two gateways."""
    plans = options.folder / "plans.toml"
    plans.write_text(plans_with({"race": MINUTES}))
    environment = {"STENO_BILLING_PLANS_FILE": str(plans)}
    with open_world(options.database, options.folder / "mesh", environment) as world:
        with second_gateway(world.mesh) as second, no_worker(world.mesh):
            return asyncio.run(_rounds(options, world, (str(world.mesh.ready["url"]), second)))


async def _rounds(options: Options, world: World, urls: tuple[str, ...]) -> list[Figure]:
    submits = LONG_SUBMITS if options.long else SHORT_SUBMITS
    affordable = submits // 2
    clip = write_clip(options.folder / "clip.wav", MINUTES * 60_000 // affordable)
    rounds, answers, exact, started = options.amount(SHORT_ROUNDS, LONG_ROUNDS), Counter[int](), 0, time.monotonic()
    async with open_racers(urls, clip, submits) as racers:
        for number in range(rounds):
            statuses, unknown = await _round(world, racers, f"{options.seed}:{number}", submits)
            assert statuses == {202: affordable, 402: submits - affordable}, f"round {number}: {dict(statuses)}, {unknown} repeated"
            exact += 1
            answers.update({**statuses, 0: unknown})
    seconds = time.monotonic() - started
    ledger = await asyncio.to_thread(read_ledger, world.mesh)
    return [
        Figure("rounds with exactly the affordable jobs", exact, at_least=rounds, at_most=rounds),
        Figure("submits in a round, half of them affordable", submits),
        Figure("accepted", answers[202]),
        Figure("refused for credit", answers[402]),
        Figure("submits repeated because nobody knew", answers[0]),
        Figure("submits a second", round(rounds * submits / seconds, 1), unit="/s"),
        Figure("open holds, of jobs accepted", ledger.open_holds, at_least=answers[202], at_most=answers[202]),
        Figure("ledger imbalance", ledger.imbalance_ms, at_most=0, unit="ms"),
        Figure("accounts that differ from their transfers", ledger.wrong_accounts, at_most=0),
    ]


async def _round(world: World, racers: Racers, name: str, submits: int) -> tuple[Counter[int], int]:
    """The statuses of one race, replays of an answer that was lost counted as the acceptance that they are, and repeats."""
    _, api_key = await new_customer(world.mesh, "race")
    outcomes = await racers.race(api_key, {number: f"{name}:{number}" for number in range(submits)}, submits)
    assert len({outcome.job_id for outcome in outcomes if outcome.status != 402}) == sum(outcome.status != 402 for outcome in outcomes)
    statuses = Counter(202 if outcome.status == 200 and outcome.unknown else outcome.status for outcome in outcomes)
    return statuses, sum(outcome.unknown for outcome in outcomes)
