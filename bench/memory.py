"""Memory of process trees, from /proc (Linux)."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_EVERY_SECONDS = 0.02
_PROC = Path("/proc")


def tree(pid: int) -> list[int]:
    """A process and its descendants; empty once it is gone."""
    found = [pid]
    try:
        for task in (_PROC / str(pid) / "task").iterdir():
            for child in (task / "children").read_text().split():
                found += tree(int(child))
    except OSError:
        return found if psutil.pid_exists(pid) else []
    return found


def resident_bytes(pid: int) -> int:
    """Resident set size; 0 once the process is gone."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def proportional_bytes(pid: int) -> int:
    """Resident memory with shared pages divided among their users; 0 once the process is gone."""
    try:
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        return 0
    return 0


@dataclass
class Growth:
    """Peak growth of each tree since the watch began, in bytes.

    Processes that were there count with all they hold; ones born since with their share only: a sandboxed
    child is a fork whose pages are its parent's until it writes to them.
    """

    roots: Mapping[str, int]
    peaks: dict[str, int] = field(default_factory=dict)
    _known: dict[str, frozenset[int]] = field(default_factory=dict)
    _before: dict[str, int] = field(default_factory=dict)

    def begin(self) -> None:
        """What is there now is the baseline."""
        for name, root in self.roots.items():
            self._known[name] = frozenset(tree(root))
            self._before[name] = self._held(name, root)
            self.peaks[name] = 0

    def sample(self) -> None:
        """Look once."""
        for name, root in self.roots.items():
            self.peaks[name] = max(self.peaks[name], self._held(name, root) - self._before[name])

    def _held(self, name: str, root: int) -> int:
        known = self._known[name]
        return sum(resident_bytes(pid) if pid in known else proportional_bytes(pid) for pid in tree(root))


@contextmanager
def watched(roots: Mapping[str, int]) -> Iterator[Growth]:
    """Samples the trees every 20 ms in a thread until left."""
    growth = Growth(roots)
    growth.begin()
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(_EVERY_SECONDS):
            growth.sample()

    thread = threading.Thread(target=watch, name="memory watch")
    thread.start()
    try:
        yield growth
    finally:
        stop.set()
        thread.join()
