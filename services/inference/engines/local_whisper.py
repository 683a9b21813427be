"""Whisper in the local engine's processes, a window at a time in each."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from services.inference.engines.engine import EngineFailed, LanguageUnsupported, WindowFailed, WindowParameters
from services.inference.engines.local import LocalEngine
from services.inference.engines.local_pool import WorkerPool, open_worker_pool
from services.inference.engines.messages import WhisperSetup
from services.inference.models.catalogue.installed import InstalledModel
from services.inference.models.whisper.precision import Precision
from services.inference.pcm import Pcm
from services.inference.transcript import WindowResult

WINDOW_SECONDS = 30.0
# A large model on one slow core, all rungs of the ladder.
CALL_TIMEOUT_SECONDS = 1_800.0
_GROWTH = 1.5
_BESIDE_BYTES = 400 * 1024 * 1024
_MEMORY_SHARE = 0.5
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


class LocalWhisperEngine(LocalEngine):
    """The local engine with an installed Whisper for its recogniser."""

    max_window_seconds = WINDOW_SECONDS
    punctuates = True

    def __init__(self, pool: WorkerPool, model: InstalledModel, setup: WhisperSetup) -> None:
        super().__init__(pool)
        self._setup = setup
        self.model = model.name
        self.languages = model.languages
        self.translates = model.translates
        self.production = not model.test
        self.test = model.test
        self.precision = setup.precision

    async def transcribe_window(self, pcm: Pcm, parameters: WindowParameters) -> WindowResult:
        """Raises LanguageUnsupported for a language that the model never learned, WindowFailed when tries are spent."""
        if parameters.language is not None and parameters.language not in self.languages:
            raise LanguageUnsupported(f"{self.model} does not know the language {parameters.language}")
        try:
            result: WindowResult = await self._pool.call("transcribe_whisper", self._setup, np.array(pcm), parameters)
        except EngineFailed as error:
            raise WindowFailed(str(error)) from error
        return result


def plan_processes(graphs_bytes: int, cores: int, memory_bytes: int) -> int:
    """As many processes as cores, unless so many copies of the weights would fill more than half of the memory; at least one."""
    each = int(graphs_bytes * _GROWTH) + _BESIDE_BYTES
    return max(1, min(cores, int(memory_bytes * _MEMORY_SHARE) // each))


def memory_bytes() -> int:
    """What the machine has, or the container may take."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _CGROUP_LIMIT.read_text().strip() if _CGROUP_LIMIT.is_file() else "max"
    return min(physical, int(limit)) if limit.isdigit() else physical


@asynccontextmanager
async def open_local_whisper(
    model: InstalledModel, precision: Precision, *, processes: int = 0, beams: int = 1
) -> AsyncIterator[LocalWhisperEngine]:
    """The engine over so many processes, 0 for what the machine bears; the cores are shared out among them."""
    cores = os.cpu_count() or 1
    workers = processes or plan_processes(model.graphs_bytes(precision), cores, memory_bytes())
    setup = WhisperSetup(str(model.folder), precision, beams, threads=max(1, cores // workers))
    async with open_worker_pool(workers, CALL_TIMEOUT_SECONDS) as pool:
        yield LocalWhisperEngine(pool, model, setup)
