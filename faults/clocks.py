"""Clocks of single services, set wrong while they run. Needs libfaketime, which is a package of the operating system."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from faults.campaign import Skipped
from tests.servers import nats_binary

_PLACES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib")
_LIBRARY = "faketime/libfaketimeMT.so.1"
# The library reads a clock's file again after this long.
SECONDS_TO_NOTICE = 1
_INTERPRETER = """#!/bin/sh
for last; do :; done
case "$last" in
services.*)
    export LD_PRELOAD={library} FAKETIME_TIMESTAMP_FILE={folder}/"${{last#services.}}" FAKETIME_CACHE_DURATION={seconds}
    export FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_DONT_RESET=1 FAKETIME_DISABLE_SHM=1 NO_FAKE_STAT=1
    ;;
esac
exec {python} "$@"
"""


@dataclass(frozen=True)
class Clocks:
    """The clocks of a mesh's services, right until set wrong."""

    folder: Path

    @property
    def interpreter(self) -> Path:
        """A Python that runs each service on its own clock."""
        return self.folder / "bin" / "python"

    def set(self, service: str, wrong_by: timedelta) -> None:
        """Step a service's clock."""
        partial = self.folder / f"{service}.new"
        partial.write_text(f"{wrong_by.total_seconds():+.0f}\n")
        partial.replace(self.folder / service)


def make_clocks(folder: Path, services: Sequence[str]) -> Clocks:
    """Clocks that are right. Raises Skipped without libfaketime."""
    library = next((path for place in _PLACES if (path := Path(place) / _LIBRARY).exists()), None)
    if library is None:
        raise Skipped("libfaketime is not installed (apt-get install libfaketime)")
    (folder / "bin").mkdir(parents=True)
    clocks = Clocks(folder)
    script = _INTERPRETER.format(
        library=shlex.quote(str(library)), folder=shlex.quote(str(folder)), seconds=SECONDS_TO_NOTICE, python=shlex.quote(sys.executable)
    )
    clocks.interpreter.write_text(script)
    clocks.interpreter.chmod(0o700)
    # `steno up` looks for it beside its Python.
    (folder / "bin" / "nats-server").symlink_to(nats_binary())
    for service in services:
        clocks.set(service, timedelta(0))
    return clocks
