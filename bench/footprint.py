"""The idle embedded mesh: its memory, and how long it takes to be ready, beside a plain Starlette server."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from bench.baselines import running_plain
from bench.benchmark import Effort
from bench.memory import proportional_bytes, resident_bytes, tree
from bench.mesh import pids
from bench.report import Row, compared, no_more_than, single
from tests.e2e.mesh import Mesh, running_mesh

_SETTLE_SECONDS = 3.0
_MEGABYTE = 1_000_000
_MEMORY = no_more_than(450)


async def run(effort: Effort, folder: Path) -> Sequence[Row]:
    """Fresh data directories each round: the first start migrates, makes keys and a workspace."""
    starts: list[float] = []
    plain_starts: list[float] = []
    rows: list[Row] = []
    for turn in range(effort.rounds):
        round_folder = folder / str(turn)
        round_folder.mkdir()
        with running_plain(round_folder) as plain:
            plain_starts.append(plain.ready_seconds)
            plain_memory = proportional_bytes(plain.pid) / _MEGABYTE
        started = time.perf_counter()
        with running_mesh(round_folder) as mesh:
            starts.append(time.perf_counter() - started)
            if turn == effort.rounds - 1:
                await asyncio.sleep(_SETTLE_SECONDS)
                rows = _memory(mesh, plain_memory)
    return [compared("time to ready, fresh data", "s", starts, plain_starts, no_more_than(6)), *rows]


def _memory(mesh: Mesh, plain_memory: float) -> list[Row]:
    """PSS: shared pages counted once among all who share them. The models' processes begin with the first job."""
    parts = {name: sum(map(proportional_bytes, tree(pid))) / _MEGABYTE for name, pid in pids(mesh).items()}
    everything = tree(mesh.process.pid)
    total = sum(map(proportional_bytes, everything)) / _MEGABYTE
    return [
        compared("whole mesh, idle, PSS", "MB", [total], [plain_memory], _MEMORY),
        single("whole mesh, idle, RSS", "MB", [sum(map(resident_bytes, everything)) / _MEGABYTE]),
        *(compared(f"  {name}", "MB", [held], [plain_memory]) for name, held in parts.items()),
        compared("  steno up itself", "MB", [total - sum(parts.values())], [plain_memory]),
    ]
