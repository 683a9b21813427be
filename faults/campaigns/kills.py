"""Random SIGKILL and SIGSTOP of every process of a mesh under load: no accepted job is lost, charged twice or stuck."""

import time
from collections.abc import Sequence

from faults.campaign import Figure, Options
from faults.injector import BELOW, SERVICES, Injector, injecting, schedule
from faults.load import Mix
from faults.trial import conclude, open_trial

SHORT, LONG = 15, 1000
_MEAN_GAP_SECONDS = 0.6
_CLIENTS = 6
_FOLLOW_SECONDS = 30.0
_MIX = Mix(silent=0.6)
_SECONDS_PER_FAULT = 6.0


def run(options: Options) -> Sequence[Figure]:
    """Faults at the pace that the restarts allow, then rest, then the verdict."""
    count = options.amount(SHORT, LONG)
    victims = (*SERVICES, *BELOW, *(("postgres",) if options.database == "postgresql" else ()))
    with open_trial(options) as trial:
        injector = Injector(trial.world, trial.folder / "faults.jsonl")
        began = time.monotonic()
        with (
            trial.load(_CLIENTS, _MIX, follow_seconds=_FOLLOW_SECONDS).running(),
            injecting(injector, schedule(options.seed, victims, _MEAN_GAP_SECONDS), count) as thread,
        ):
            thread.join(60 + _SECONDS_PER_FAULT * count)
        stopped = time.monotonic()
        verdict = conclude(trial, stopped)
    pace = Figure("faults per minute", round(60 * injector.done / (stopped - began), 1))
    return [Figure("faults done", injector.done, at_least=count), pace, *verdict.figures()]
