"""Power cuts under load: what was acknowledged is on the disk; and a product that syncs less is caught losing it."""

import random
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from faults.campaign import Figure, Options, Skipped
from faults.freezing import end_tree, frozen
from faults.history import recording
from faults.images import mounted_image, new_image
from faults.meshes import HURRIED, World, embedded_stores
from faults.mutants.edits import Edit
from faults.mutants.tree import grow
from faults.sounds import make_sounds
from faults.trial import LIVENESS_SECONDS, Trial, Verdict, conclude
from tests.e2e.mesh import Mesh, running_mesh

SHORT, LONG = 2, 50
_CUTS_PER_MESH = 10
_WEAK_SHORT, _WEAK_LONG = 0, 5
_IMAGE_MEBIBYTES = 512
_GAP_SECONDS = (0.4, 4.0)
# Each alone is a mutant of the harness too; together they are what an operator gets from the libraries' defaults.
_WEAKER = (
    Edit("services/mesh/engines.py", '"synchronous=FULL"', '"synchronous=NORMAL"'),
    Edit("services/mesh/nats_config.py", '            "sync_interval": "always",\n', ""),
)


@dataclass(frozen=True)
class Cut:
    """A disk as a power cut left it, and the history up to then."""

    image: Path
    history: Path


def run(options: Options) -> Sequence[Figure]:
    """Cuts of the product, then a few of one that syncs less. Skipped where images cannot be mounted."""
    if options.database != "sqlite":
        raise Skipped("only the embedded mesh keeps everything below one directory")
    verdicts = list(_verdicts(options, options.amount(SHORT, LONG), {}))
    figures = [*_figures(verdicts)]
    if weak := _WEAK_LONG if options.long else _WEAK_SHORT:
        figures.append(_lost_by_weaker(options, weak))
    return figures


def _figures(verdicts: Sequence[Verdict]) -> Iterator[Figure]:
    yield Figure("power cuts", len(verdicts), at_least=1)
    yield Figure("jobs acknowledged before a cut", sum(verdict.accepted for verdict in verdicts), at_least=1)
    yield Figure("acknowledged jobs lost", sum(verdict.of("I-1") for verdict in verdicts), at_most=0)
    yield Figure("jobs stuck", sum(verdict.of("I-3") for verdict in verdicts), at_most=0)
    yield Figure("jobs settled wrongly", sum(verdict.of("I-16", "I-17", "I-18") for verdict in verdicts), at_most=0)
    yield Figure("torn or missing blobs", sum(verdict.of("I-24") for verdict in verdicts), at_most=0)
    yield Figure("broken promises in all", sum(len(verdict.violations) for verdict in verdicts), at_most=0)
    yield Figure("slowest from ready to rest", round(max(verdict.rest_seconds for verdict in verdicts), 1), LIVENESS_SECONDS, unit="s")


def _lost_by_weaker(options: Options, count: int) -> Figure:
    """How much a product without its syncs breaks: the campaign can fail."""
    tree = grow(options.folder / "weaker", "power", _WEAKER)
    verdicts = list(_verdicts(options, count, tree.environment))
    broken = sum(len(verdict.violations) for verdict in verdicts)
    return Figure(f"promises broken by {count} cuts of a product without its syncs", broken, at_least=1)


def _verdicts(options: Options, count: int, environment: Mapping[str, str]) -> Iterator[Verdict]:
    chance = random.Random(options.seed)
    for first in range(0, count, _CUTS_PER_MESH):
        folder = options.folder / f"mesh-{first}"
        gaps = [chance.uniform(*_GAP_SECONDS) for _ in range(min(_CUTS_PER_MESH, count - first))]
        for cut in list(_cuts(options, folder, gaps, environment)):
            yield _after(options, folder, cut, environment)
            cut.image.unlink()
        shutil.rmtree(folder)


def _cuts(options: Options, folder: Path, gaps: Sequence[float], environment: Mapping[str, str]) -> Iterator[Cut]:
    """Copies of the disk of one mesh under load, at instants that the seed chose."""
    folder.mkdir(parents=True)
    image = new_image(folder / "disk.img", _IMAGE_MEBIBYTES)
    with mounted_image(image, folder / "data") as disk, _trial(options, folder, environment) as trial, trial.load().running():
        for number, gap in enumerate(gaps):
            time.sleep(gap)
            cut = Cut(folder / f"cut-{number}.img", folder / f"cut-{number}.jsonl")
            with frozen(trial.world.mesh.process.pid):
                disk.copy(cut.image)
                # Afterwards: a reply that was on its way already counts too.
                shutil.copy(trial.folder / "history.jsonl", cut.history)
            yield cut


def _after(options: Options, folder: Path, cut: Cut, environment: Mapping[str, str]) -> Verdict:
    """Start on what the cut left, let everything end, and judge."""
    shutil.rmtree(folder / "data", ignore_errors=True)
    with mounted_image(cut.image, folder / "data"):
        shutil.copy(cut.history, folder / "history.jsonl")
        with _trial(options, folder, environment) as trial:
            return conclude(trial, time.monotonic())


@contextmanager
def _trial(options: Options, folder: Path, environment: Mapping[str, str]) -> Iterator[Trial]:
    """A mesh on the disk in the folder, with the history beside the disk; it ends without a chance to tidy up."""
    (folder / "ready.json").unlink(missing_ok=True)
    with running_mesh(folder, {**HURRIED, **environment}) as mesh, recording(folder / "history.jsonl") as recorder:
        try:
            yield Trial(options, folder, _world(mesh), recorder, make_sounds(options.folder / "sounds"))
        finally:
            end_tree(mesh.process.pid)
            mesh.process.wait()


def _world(mesh: Mesh) -> World:
    return World(mesh, embedded_stores(mesh.data))
