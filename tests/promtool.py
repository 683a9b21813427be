"""Prometheus' own promtool: of the machine, else of Debian's package, kept in .cache."""

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FOLDER = Path(__file__).resolve().parents[1] / ".cache" / "promtool"
_SECONDS = 120


def find_promtool() -> Path | None:
    """None on a machine that has neither promtool nor apt. Raises CalledProcessError where apt cannot fetch its package."""
    if found := shutil.which("promtool"):
        return Path(found)
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        return None
    unpacked = _FOLDER / "unpacked" / "usr" / "bin" / "promtool"
    with _alone():
        if not unpacked.exists():
            _fetch()
    return unpacked


@contextmanager
def _alone() -> Iterator[None]:
    """One process at a time fetches."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    with (_FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch() -> None:
    try:
        _run("apt-get", "download", "prometheus")
    except subprocess.CalledProcessError:
        # Images are shipped without lists of packages; with a state of its own apt needs no rights to fetch them.
        (_FOLDER / "state" / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        own = ("-o", f"Dir::State::Lists={_FOLDER / 'state' / 'lists'}", "-o", f"Dir::Cache={_FOLDER / 'state'}")
        _run("apt-get", *own, "update")
        _run("apt-get", *own, "download", "prometheus")
    [package] = _FOLDER.glob("prometheus_*.deb")
    _run("dpkg-deb", "-x", str(package), "unpacking")
    package.unlink()
    (_FOLDER / "unpacking").rename(_FOLDER / "unpacked")


def _run(*command: str) -> None:
    subprocess.run(command, cwd=_FOLDER, check=True, capture_output=True, timeout=_SECONDS)
