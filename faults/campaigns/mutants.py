"""The harness itself: mutants of the product, each of which it must find, and the product itself, of which it must find nothing."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from faults.campaign import Figure, Options, Skipped
from faults.images import require_mounts
from faults.mutants.catalogue.all import MUTANTS
from faults.mutants.edits import Mechanism
from faults.mutants.mutant import Mutant, Scenario
from faults.mutants.trial import Verdict, try_controls, try_mutant

SHORT = ("no fence on results", "failure is charged")
# A trial waits more than it computes.
_AT_ONCE = 3
_TOLD_CHARACTERS = 200


class Control(NamedTuple):
    """Scenarios that the product must pass on one stage, with the mechanisms switched off that hide the mutants of these scenarios."""

    scenarios: Sequence[Scenario]
    without: Sequence[Mechanism]


def run(options: Options) -> Sequence[Figure]:
    """Every mutant, or so many of them, and the controls that their kills rest on."""
    chosen = _chosen(options)
    groups = list(controls(chosen))
    with ThreadPoolExecutor(_AT_ONCE, "mutants") as pool:
        tried = [pool.submit(_mutant, options.folder / f"mutant-{number}", mutant) for number, mutant in enumerate(chosen)]
        untouched = [pool.submit(_controls, options.folder / f"control-{number}", control) for number, control in enumerate(groups)]
        killed = sum(future.result() for future in tried)
        passed = sum(future.result() for future in untouched)
    played = sum(len(control.scenarios) for control in groups)
    return [
        Figure("mutants", len(chosen)),
        Figure("mutants killed", killed, at_least=len(chosen)),
        Figure("controls", played),
        Figure("controls passed", passed, at_least=played),
    ]


def _chosen(options: Options) -> Sequence[Mutant]:
    can_cut_power = _can_cut_power()
    able = [mutant for mutant in MUTANTS if can_cut_power or not mutant.scenario.loses_power]
    if options.count is not None:
        return able[: options.count]
    return able if options.long else [mutant for mutant in able if mutant.name in SHORT]


def _can_cut_power() -> bool:
    try:
        require_mounts()
    except Skipped as reason:
        print(f"   without power cuts: {reason}", flush=True)
        return False
    return True


def controls(mutants: Sequence[Mutant]) -> Iterator[Control]:
    """For each mutant its scenario on the product, with the same mechanisms switched off; those that can share a stage do."""

    def stage_of(mutant: Mutant) -> tuple[str, str, str]:
        alone = mutant.scenario.name if mutant.scenario.alone else ""
        return alone, repr(sorted(mutant.scenario.settings.items())), repr([mechanism.name for mechanism in mutant.without])

    for _, group in groupby(sorted(mutants, key=stage_of), stage_of):
        alike = list(group)
        yield Control(list({mutant.scenario.name: mutant.scenario for mutant in alike}.values()), alike[0].without)


def _mutant(folder: Path, mutant: Mutant) -> bool:
    verdict = try_mutant(folder, mutant)
    killed = mutant.breaks in verdict.broken
    fate = f"killed by {mutant.breaks}: {verdict.broken[mutant.breaks]}" if killed else f"SURVIVED {dict(verdict.broken)} {verdict.trouble}"
    _tell(mutant.name, mutant.without, verdict, fate)
    return killed


def _controls(folder: Path, control: Control) -> int:
    verdicts = try_controls(folder, control.scenarios, control.without)
    good = [not verdict.broken and not verdict.trouble for verdict in verdicts]
    for verdict, passed in zip(verdicts, good, strict=True):
        fate = "passed by the product" if passed else f"FAILED BY THE PRODUCT {dict(verdict.broken)} {verdict.trouble}"
        _tell(verdict.name, control.without, verdict, fate)
    return sum(good)


def _tell(name: str, without: Sequence[Mechanism], verdict: Verdict, fate: str) -> None:
    switched_off = "".join(f", without {mechanism.name}" for mechanism in without)
    print(f"   {verdict.seconds:5.1f} s  {name}{switched_off}: {fate[:_TOLD_CHARACTERS]}", flush=True)
