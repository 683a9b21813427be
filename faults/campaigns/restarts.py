"""Every replica of a fleet restarted with SIGTERM, one after another, under load: no request fails, no job is lost."""

import random
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from faults.campaign import Figure, Options
from faults.fleet import Fleet, open_fleet
from faults.history import recording
from faults.load import Load, Mix
from faults.replicas import Replica
from faults.sounds import make_sounds
from faults.trial import Trial, conclude, keep

SHORT, LONG = 2, 50
_CLIENTS = 4
_MIX = Mix(silent=0.7, longer=0.02)
# From ready to the next restart of the same service: longer than callers wait before they connect again.
_SETTLING_SECONDS = (1.2, 2.0)
_SHOWN = 12
# On a starved machine a balancer learns late, or finds nobody ready: a few in a hundred.
_MOST_FIRST = 0.05


def run(options: Options) -> Sequence[Figure]:
    """Two replicas of every service; of each service one at a time, of all services at once."""
    options = replace(options, database="postgresql")
    folder, count = options.folder / "trial", options.amount(SHORT, LONG)
    folder.mkdir(parents=True)
    sounds = make_sounds(options.folder / "sounds")
    try:
        with open_fleet(folder) as fleet, recording(folder / "history.jsonl") as recorder:
            trial = Trial(options, folder, fleet.world, recorder, sounds)
            with Load(fleet.world.mesh, recorder, sounds, options.seed, _CLIENTS, _MIX).running():
                restarts = _restart_all(fleet, options.seed, count)
            figures = _figures(fleet, restarts, count)
            return [*figures, *conclude(trial, time.monotonic()).figures()]
    except BaseException:
        print(f"   kept: {keep(folder, options)}", flush=True)
        raise


def _restart_all(fleet: Fleet, seed: int, count: int) -> Sequence[tuple[int, float]]:
    """Exit status and seconds away of every restart."""
    with ThreadPoolExecutor(len(fleet.replicas), "rollout") as rollouts:
        rolling = [rollouts.submit(_roll, pair, random.Random(f"{seed} {service}"), count) for service, pair in fleet.replicas.items()]
        return [restart for rollout in rolling for restart in rollout.result()]


def _roll(replicas: Sequence[Replica], chance: random.Random, count: int) -> Sequence[tuple[int, float]]:
    restarts = []
    for number in range(count):
        time.sleep(chance.uniform(*_SETTLING_SECONDS))
        restarts.append(replicas[number % len(replicas)].restart())
    return restarts


def _figures(fleet: Fleet, restarts: Sequence[tuple[int, float]], count: int) -> Sequence[Figure]:
    outcomes = fleet.outcomes
    for why, times in [*outcomes.first.most_common(_SHOWN), *outcomes.lost.most_common(_SHOWN)]:
        print(f"   {times} x {why}", flush=True)
    return [
        Figure("restarts of each service", count, at_least=count),
        Figure("restarts", len(restarts), at_least=count * len(fleet.replicas)),
        Figure("ends with another status than 0", sum(status != 0 for status, _ in restarts), at_most=0),
        Figure("away, from the end until ready again", round(statistics.median(seconds for _, seconds in restarts), 1), unit="s"),
        Figure("requests", outcomes.requests, at_least=1),
        Figure("requests whose first try failed", outcomes.first.total(), at_most=_MOST_FIRST * outcomes.requests),
        Figure("requests that failed", outcomes.lost.total(), at_most=0),
        Figure("slowest request", round(outcomes.slowest_seconds, 1), unit="s"),
    ]
