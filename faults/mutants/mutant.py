"""What a mutant is: a defect as edits of the source, and what must find it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from faults.mutants.edits import Edit, Mechanism
from faults.mutants.promises import Promise
from faults.mutants.stage import Stage


@dataclass(frozen=True)
class Scenario:
    """What is done to a stage. settings: environment of its services. judged: by the checker afterwards, besides its own looks.

    It ends every job that it began. alone: it leaves nothing that others could use. loses_power: its stage is on a disk of its own,
    which root may mount. files: what is written into the stage's folder
    first; `{folder}` in a setting stands for that.
    """

    name: str
    play: Callable[[Stage], Awaitable[None]]
    settings: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Callable[[], str]] = field(default_factory=dict)
    judged: bool = True
    alone: bool = False
    loses_power: bool = False


@dataclass(frozen=True)
class Mutant:
    """A defect. without: the mechanisms that would hide it. breaks: the promise by which the scenario must find it."""

    name: str
    defect: str
    edits: Sequence[Edit]
    scenario: Scenario
    breaks: Promise
    without: Sequence[Mechanism] = ()
