"""Clocks of single services, set wrong while they run, by a small library loaded before libc. Needs a C compiler.

libfaketime would do, were it not for its own version of waits with a monotonic deadline, which fails with EINVAL.
"""

import shlex
import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from faults.campaign import Skipped
from tests.servers import nats_binary

_LIBRARY = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long long *offset;

__attribute__((constructor)) static void look(void) {
    const char *path = getenv("STENO_CLOCK_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *found = file >= 0 ? mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0) : MAP_FAILED;
    offset = found == MAP_FAILED ? NULL : found;
    if (file >= 0) close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *offset;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec found;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &found);
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (now) *now = found.tv_sec;
    return found.tv_sec;
}
"""
_INTERPRETER = """#!/bin/sh
for last; do :; done
case "$last" in
services.*) export LD_PRELOAD={folder}/clock.so STENO_CLOCK_FILE={folder}/"${{last#services.}}" ;;
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
        """Step a service's clock, at once."""
        path = self.folder / service
        with path.open("r+b" if path.exists() else "wb") as file:
            file.write(struct.pack("=q", int(wrong_by.total_seconds())))


def make_clocks(folder: Path, services: Sequence[str]) -> Clocks:
    """Clocks that are right. Raises Skipped without a C compiler, or elsewhere than on Linux."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        raise Skipped("clocks of single processes need Linux and a C compiler")
    (folder / "bin").mkdir(parents=True)
    source, library = folder / "clock.c", folder / "clock.so"
    source.write_text(_LIBRARY)
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    clocks = Clocks(folder)
    clocks.interpreter.write_text(_INTERPRETER.format(folder=shlex.quote(str(folder)), python=shlex.quote(sys.executable)))
    clocks.interpreter.chmod(0o700)
    # `steno up` looks for it beside its Python.
    (folder / "bin" / "nats-server").symlink_to(nats_binary())
    for service in services:
        clocks.set(service, timedelta(0))
    return clocks
