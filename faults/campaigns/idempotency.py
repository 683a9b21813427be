"""Submits of one key at the same moment through two gateways, some while a service is killed: one job for each key."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from faults.campaign import Figure, Options
from faults.meshes import World, open_world
from faults.races import Outcome, Racers, no_worker, open_racers, second_gateway, write_clip
from faults.snapshot import read_table
from tests.e2e.ledger import Ledger, read_ledger
from tests.e2e.mesh import wait_for

SHORT_KEYS, LONG_KEYS = 5, 1_000
SUBMITS = 64
CLIP_MS = 1_000
VICTIMS = ("billing", "storage", "jobs", "gateway")
SHORT_KILL_EVERY, LONG_KILL_EVERY = 4, 50


@dataclass
class Tally:
    """What came of the races so far."""

    answers: Counter[int] = field(default_factory=Counter)
    job_ids: set[str] = field(default_factory=set)
    unknown: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    undisturbed: int = 0

    def take(self, key: str, outcomes: Sequence[Outcome]) -> None:
        """Check the race of one key: all of one job; one that made it, unless that answer was lost; replays that say so."""
        self.answers.update(outcome.status for outcome in outcomes)
        job_ids = {outcome.job_id for outcome in outcomes}
        assert len(job_ids - {""}) == 1, f"{key} made {sorted(job_ids)}: {outcomes}"
        made = sum(outcome.status == 202 for outcome in outcomes)
        replayed = sum(outcome.status == 200 and outcome.replayed for outcome in outcomes)
        unknown = sum(outcome.unknown for outcome in outcomes)
        assert made + replayed == len(outcomes), f"{key}: {made} accepted and {replayed} replayed of {len(outcomes)}"
        assert made == 1 or (made == 0 and unknown), f"{key} was accepted {made} times"
        assert not job_ids & self.job_ids, f"{key} was answered with another key's job"
        self.job_ids |= job_ids
        self.unknown += unknown
        self.undisturbed += not unknown


def run(options: Options) -> Sequence[Figure]:
    """One race after another."""
    with ExitStack() as stack:
        world = stack.enter_context(open_world(options.database, options.folder / "mesh"))
        second = stack.enter_context(second_gateway(world.mesh))
        stack.enter_context(no_worker(world.mesh))
        tally, seconds = asyncio.run(_races(options, world, (str(world.mesh.ready["url"]), second)))
        ledger = wait_for(lambda: _at_rest(world, len(tally.job_ids)), 180, "holds without a job to be given back", every=1.0)
        jobs = len(read_table(world.stores, "jobs", "job"))
    keys = len(tally.job_ids)
    kills = keys // _kill_every(options)
    return [
        Figure("keys with exactly one job", keys, at_least=options.amount(SHORT_KEYS, LONG_KEYS)),
        Figure("jobs in the table", jobs, at_least=keys, at_most=keys),
        Figure("open holds", ledger.open_holds, at_least=keys, at_most=keys),
        Figure("submits at once", SUBMITS),
        Figure("accepted", tally.answers[202], at_most=keys),
        Figure("replayed", tally.answers[200]),
        Figure("races without an unknown answer", tally.undisturbed),
        Figure("submits repeated because nobody knew", tally.unknown),
        Figure("processes killed", tally.killed.total(), at_least=kills),
        Figure("submits a second", round(keys * SUBMITS / seconds, 1), unit="/s"),
        Figure("ledger imbalance", ledger.imbalance_ms, at_most=0, unit="ms"),
        Figure("accounts that differ from their transfers", ledger.wrong_accounts, at_most=0),
    ]


def _kill_every(options: Options) -> int:
    return LONG_KILL_EVERY if options.long else SHORT_KILL_EVERY


def _at_rest(world: World, holds: int) -> Ledger | None:
    """The ledger once every hold is a job's."""
    ledger = read_ledger(world.mesh)
    return ledger if ledger.open_holds <= holds else None


async def _races(options: Options, world: World, urls: tuple[str, ...]) -> tuple[Tally, float]:
    clip = write_clip(options.folder / "clip.wav", CLIP_MS)
    chance, tally, started = random.Random(options.seed), Tally(), time.monotonic()
    kill_every = _kill_every(options)
    async with open_racers(urls, clip, SUBMITS) as racers:
        for number in range(1, options.amount(SHORT_KEYS, LONG_KEYS) + 1):
            victim = chance.choice(VICTIMS) if number % kill_every == 0 else ""
            key = f"{options.seed}:{number}"
            tally.take(key, await _race(world, racers, key, victim, chance.uniform(0, 0.3), tally))
    return tally, time.monotonic() - started


async def _race(world: World, racers: Racers, key: str, victim: str, after_seconds: float, tally: Tally) -> list[Outcome]:
    racing = asyncio.create_task(racers.race(world.mesh.ready["api_key"], key, SUBMITS), name=f"race-{key}")
    if victim:
        await asyncio.sleep(after_seconds)
        tally.killed[victim] += world.mesh.kill(victim) is not None
    return await racing
