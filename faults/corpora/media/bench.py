"""Reads files through one sandbox, and keeps what is strange about their ends."""

import asyncio
import gc
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from faults.campaign import Figure
from faults.corpora.media.case import Specimen
from faults.corpora.media.examine import Examined, examine
from faults.corpora.media.mutator import mutate
from services.media.errors import MediaError
from services.media.sandbox import Sandbox

MEGABYTE = 1_000_000
TOLD_EVERY = 500
MAX_CHILD_MB, MAX_GROWTH_MB = 512, 16
# An Ogg page, or what an encoder pads: how far a probe may be above what decodes.
PROBE_TOLERANCE_MS = 1_500


@dataclass
class Bench:
    """The sandbox under test, the whole files of which mutants are made, and what was seen."""

    sandbox: Sandbox
    folder: Path
    forms: Sequence[bytes]
    seed: int
    strange: list[str] = field(default_factory=list)
    false_lengths: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    reader_faults: list[str] = field(default_factory=list)
    deaths: Counter[str] = field(default_factory=Counter)
    mutants: Counter[str] = field(default_factory=Counter)
    readings: int = 0

    async def read_corpus(self, specimens: Iterable[Specimen], readers: int) -> None:
        """All files, a few at a time."""
        await side_by_side(self.read_specimen, specimens, readers)

    async def read_mutants(self, numbers: Iterable[int], readers: int) -> None:
        """The mutants of these numbers, a few at a time."""
        await side_by_side(self.read_mutant, numbers, readers)

    async def read_specimen(self, specimen: Specimen) -> None:
        """A file of the corpus, whose end is known."""
        descriptor = os.open(specimen.path, os.O_RDONLY)
        try:
            found = await self.read(specimen.name, descriptor)
        finally:
            os.close(descriptor)
        if found is not None and not as_expected(specimen, found):
            self.note(self.strange, f"{specimen.name}: {found}, expected {', '.join(specimen.expected)} of {specimen.duration_ms} ms")

    async def read_mutant(self, number: int) -> None:
        """A mutant, of which only the harm that it does is of interest."""
        descriptor = os.memfd_create("mutant")
        try:
            os.write(descriptor, mutate(self.forms, self.seed, number))
            found = await self.read(f"mutant {self.seed}:{number}", descriptor)
        finally:
            os.close(descriptor)
        self.mutants[found.outcome if found is not None else "none"] += 1

    async def read(self, name: str, descriptor: int) -> Examined | None:
        """Probe and decode; None when something broke outside of the sandbox."""
        self.readings += 1
        if self.readings % TOLD_EVERY == 0:
            print(f"   {self.readings} files read", flush=True)
        try:
            found = await examine(self.sandbox, descriptor, self.folder)
        except (MediaError, AssertionError) as error:
            self.note(self.outside, f"{name}: {type(error).__name__}: {error}")
            return None
        self.deaths.update(found.deaths)
        for fault in found.faults:
            self.note(self.reader_faults, f"{name}: {fault}")
        if found.excess_ms > PROBE_TOLERANCE_MS:
            self.note(self.false_lengths, f"{name}: {found.probed.duration_ms} ms told, {found.decoded.duration_ms} ms decoded")
        return found

    def note(self, where: list[str], what: str) -> None:
        """Keep it, and tell it at once."""
        where.append(what)
        print(f"   {what}", flush=True)

    def figures(self, specimens: int, mutants: int) -> list[Figure]:
        """What was seen."""
        return [
            Figure("files of the corpus", specimens, at_least=200),
            Figure("files that ended as expected", specimens - len(self.strange), at_least=specimens),
            Figure("mutants read", sum(self.mutants.values()), at_least=mutants),
            *(Figure(f"mutants: {outcome}", count) for outcome, count in sorted(self.mutants.items())),
            Figure("lengths told that do not decode", len(self.false_lengths), at_most=0),
            *(Figure(f"children that died of {cause}", count) for cause, count in sorted(self.deaths.items())),
            Figure("faults of our own code in a child", len(self.reader_faults), at_most=0),
            Figure("deaths outside of the sandbox", len(self.outside), at_most=0),
        ]


@dataclass
class Growth:
    """Resident memory of this process and of its fork server, before and after."""

    sandbox: Sandbox
    server_pid: int
    before_bytes: tuple[int, int]
    after_bytes: tuple[int, int] = (0, 0)

    def figures(self) -> list[Figure]:
        """What was added, and the largest child."""
        parent, server = ((after - before) / MEGABYTE for before, after in zip(self.before_bytes, self.after_bytes, strict=True))
        return [
            Figure("resident memory added to the parent", parent, at_most=MAX_GROWTH_MB, unit="MB"),
            Figure("resident memory added to the fork server", server, at_most=MAX_GROWTH_MB, unit="MB"),
            Figure("largest child", self.sandbox.peak_rss_bytes / MEGABYTE, at_most=MAX_CHILD_MB, unit="MB"),
        ]


@contextmanager
def grown(sandbox: Sandbox) -> Iterator[Growth]:
    """Measures until left. Raises AssertionError when another fork server has taken over: then one died."""
    growth = Growth(sandbox, server_pid(sandbox), resident_bytes(sandbox))
    yield growth
    if server_pid(sandbox) != growth.server_pid:
        raise AssertionError("the fork server died")
    growth.after_bytes = resident_bytes(sandbox)


def server_pid(sandbox: Sandbox) -> int:
    """The process id of the fork server."""
    assert sandbox.server is not None
    return sandbox.server.process.pid


def resident_bytes(sandbox: Sandbox) -> tuple[int, int]:
    """Of this process and of the fork server."""
    gc.collect()
    return psutil.Process().memory_info().rss, psutil.Process(server_pid(sandbox)).memory_info().rss


def as_expected(specimen: Specimen, found: Examined) -> bool:
    """Whether the end, and the length of what was heard, are those of the corpus; what is refused at submit must not decode either."""
    if found.outcome not in specimen.expected:
        return False
    if not found.probed.heard:
        return not found.decoded.heard
    return specimen.fits(found.probed.duration_ms) and specimen.fits(found.decoded.duration_ms)


async def side_by_side(read: Callable[..., Awaitable[None]], items: Iterable[object], readers: int) -> None:
    """Read all, a few at a time."""
    waiting = iter(items)

    async def turns() -> None:
        for item in waiting:
            await read(item)

    async with asyncio.TaskGroup() as group:
        for number in range(readers):
            group.create_task(turns(), name=f"reader {number}")
