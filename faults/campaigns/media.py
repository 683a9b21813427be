"""Hostile files and mutants of good ones through the media sandbox; in the long form also through a whole mesh."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from faults.campaign import Figure, Options
from faults.corpora.media.bench import Bench, grown
from faults.corpora.media.canaries import Canaries, open_canaries
from faults.corpora.media.case import Specimen, load
from faults.corpora.media.uploads import through_mesh
from services.media.sandbox import open_sandbox

# Most of a reading is waiting for a process to start and to end.
READERS = 12
WARM_UP = 40
SHORT_MUTANTS, LONG_MUTANTS = 100, 5_000
SHORT_EVERY_PERCENT, LONG_EVERY_PERCENT = 25, 1
WRITE_SECONDS = 600


def run(options: Options) -> Sequence[Figure]:
    """The corpus, then mutants; then, in the long form, a sample of the corpus through REST, and a poisoned job."""
    return asyncio.run(measure(options))


async def measure(options: Options) -> list[Figure]:
    """All figures."""
    async with open_canaries(options.folder) as canaries:
        corpus = await write_corpus(options, canaries)
        specimens, forms = load(corpus), [path.read_bytes() for path in sorted((corpus / "forms").iterdir())]
        figures = await read_all(options, specimens, forms)
        if options.long:
            figures += await asyncio.to_thread(through_mesh, options.folder, options.seed, specimens)
        for hit in canaries.hits:
            print(f"   hit: {hit}", flush=True)
        return [*figures, Figure("canary hits: TCP, UDP, sibling file", len(canaries.hits), at_most=0)]


async def write_corpus(options: Options, canaries: Canaries) -> Path:
    """The folder of the corpus, written by a process of its own."""
    folder = options.folder / "corpus"
    every_percent = LONG_EVERY_PERCENT if options.long else SHORT_EVERY_PERCENT
    order = {"folder": str(folder), "every_percent": every_percent, "slow": options.long}
    bait = {"port": canaries.bait.port, "sibling": str(canaries.bait.sibling)}
    writer = await asyncio.create_subprocess_exec(sys.executable, "-m", "faults.corpora.media.write", json.dumps(order | bait))
    async with asyncio.timeout(WRITE_SECONDS):
        if await writer.wait() != 0:
            raise AssertionError("the corpus was not written")
    return folder


async def read_all(options: Options, specimens: Sequence[Specimen], forms: Sequence[bytes]) -> list[Figure]:
    """The corpus and the mutants through one sandbox, in this process. What comes first only warms up."""
    mutants = options.amount(SHORT_MUTANTS, LONG_MUTANTS)
    async with open_sandbox(concurrency=READERS) as sandbox:
        await Bench(sandbox, options.folder, forms, options.seed + 1).read_mutants(range(WARM_UP), READERS)
        bench = Bench(sandbox, options.folder, forms, options.seed)
        with grown(sandbox) as growth:
            await bench.read_corpus(specimens, READERS)
            await bench.read_mutants(range(mutants), READERS)
        return [*bench.figures(len(specimens), mutants), *growth.figures()]
