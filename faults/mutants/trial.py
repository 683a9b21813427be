"""One trial: a copy of the product is grown, put on a stage and through scenarios."""

import asyncio
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx2

from faults.mutants.edits import Edit, Mechanism
from faults.mutants.judging import conclude
from faults.mutants.mutant import Mutant, Scenario
from faults.mutants.outlet import Outlet
from faults.mutants.promises import Broken
from faults.mutants.stage import Stage, Unplayable, open_stage
from faults.mutants.tree import grow
from services.mesh.errors import MeshError

# What no setting shortens: a message in a dead consumer's hands comes again after seconds, not half a minute.
_HURRY = Edit("services/mesh/streams.py", "ack_wait_seconds: float = 30.0", "ack_wait_seconds: float = 3.0")
_TROUBLE = (Unplayable, MeshError, httpx2.HTTPError, OSError)


@dataclass(frozen=True)
class Verdict:
    """What became of a copy. broken: what was seen, by the name of the promise. trouble: why nothing is known, if so."""

    name: str
    seconds: float
    broken: Mapping[str, str] = field(default_factory=dict)
    trouble: str = ""


def try_mutant(folder: Path, mutant: Mutant) -> Verdict:
    """What the mutant's scenario says about it."""
    [verdict] = _try(folder, mutant.name, [*_switched_off(mutant.without), *mutant.edits], [mutant.scenario])
    return replace(verdict, name=mutant.name)


def try_controls(folder: Path, scenarios: Sequence[Scenario], without: Sequence[Mechanism]) -> Sequence[Verdict]:
    """What scenarios of the same settings say about the product itself, one after the other, with these mechanisms switched off."""
    return _try(folder, "the product", _switched_off(without), scenarios)


def _switched_off(mechanisms: Sequence[Mechanism]) -> list[Edit]:
    return [edit for mechanism in mechanisms for edit in mechanism.edits]


def _try(folder: Path, name: str, edits: Sequence[Edit], scenarios: Sequence[Scenario]) -> Sequence[Verdict]:
    verdicts: list[Verdict] = []
    try:
        asyncio.run(_play(folder, name, edits, scenarios, verdicts))
    except _TROUBLE as error:
        # A stage that does not come up says nothing about the product's promises.
        return [*verdicts, *(Verdict(scenario.name, 0.0, trouble=repr(error)) for scenario in scenarios[len(verdicts) :])]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return verdicts


async def _play(folder: Path, name: str, edits: Sequence[Edit], scenarios: Sequence[Scenario], verdicts: list[Verdict]) -> None:
    """One verdict for each scenario; after the first that is not good the stage is not fit for others."""
    first, tree = scenarios[0], await asyncio.to_thread(grow, folder / "tree", name, [_HURRY, *edits])
    for file, content in first.files.items():
        (folder / file).write_text(content(), encoding="utf-8")
    settings = {key: value.format(folder=folder) for key, value in first.settings.items()}
    async with AsyncExitStack() as stack:
        outlet = stack.enter_context(Outlet(folder)) if first.loses_power else None
        stage = await stack.enter_async_context(open_stage(outlet.folder if outlet else folder, tree, settings))
        stage.outlet = outlet
        for scenario in scenarios:
            fit = all(map(_is_good, verdicts))
            verdicts.append(await _verdict(stage, scenario) if fit else Verdict(scenario.name, 0.0, trouble="not played"))


async def _verdict(stage: Stage, scenario: Scenario) -> Verdict:
    started = time.monotonic()
    try:
        await scenario.play(stage)
        if scenario.judged:
            await conclude(stage)
    except Broken as broken:
        return Verdict(scenario.name, time.monotonic() - started, broken.found)
    except _TROUBLE as error:
        return Verdict(scenario.name, time.monotonic() - started, trouble=repr(error))
    return Verdict(scenario.name, time.monotonic() - started)


def _is_good(verdict: Verdict) -> bool:
    return not verdict.broken and not verdict.trouble
