"""What a child does to itself before it looks at the media. Runs only in the fork server and its children."""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from services.media import seccomp
from services.media.errors import SandboxUnavailable
from services.media.limits import Limits

NOBODY = 65534
CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWIPC = 0x10000000, 0x40000000, 0x08000000
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38


@dataclass(frozen=True, slots=True)
class Isolation:
    """Which walls stand around a child."""

    seccomp: bool
    network: bool
    user: bool


def leave_network() -> bool:
    """Move this process, and all it forks, to a network namespace with no interface but a dead loopback."""
    if not sys.platform.startswith("linux"):
        return False
    flags = CLONE_NEWNET | CLONE_NEWIPC | (0 if os.geteuid() == 0 else CLONE_NEWUSER)
    return bool(ctypes.CDLL(None, use_errno=True).unshare(flags) == 0)


def confine(limits: Limits, writable: Iterable[int], network_left: bool, server_pid: int) -> Isolation:
    """Give up everything but memory, CPU time and the descriptors in hand. There is no way back.

    Raises SandboxUnavailable when the limits demand isolation and none took hold.
    """
    os.environ.clear()
    set_resource_limits(limits)
    user = become_nobody()
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    filtered = sys.platform.startswith("linux") and lock(writable, server_pid)
    isolation = Isolation(filtered, network_left, user)
    demand(isolation, limits)
    return isolation


def demand(isolation: Isolation, limits: Limits) -> None:
    """Raises SandboxUnavailable when the limits ask for isolation and there is none."""
    if limits.require_isolation and not (isolation.seccomp or isolation.network):
        raise SandboxUnavailable("neither a seccomp filter nor a network namespace can be set up here")


def set_resource_limits(limits: Limits) -> None:
    """Bound memory, CPU, file size and descriptors; no core dump."""
    bounds = {
        resource.RLIMIT_AS: (limits.address_space_bytes, limits.address_space_bytes),
        resource.RLIMIT_CPU: (limits.cpu_seconds, limits.cpu_seconds + 1),
        resource.RLIMIT_FSIZE: (limits.file_size_bytes, limits.file_size_bytes),
        resource.RLIMIT_NOFILE: (limits.open_files, limits.open_files),
        resource.RLIMIT_CORE: (0, 0),
    }
    for kind, bound in bounds.items():
        resource.setrlimit(kind, bound)


def become_nobody() -> bool:
    """Drop root, into the empty current directory as root directory. True if this process is not root any more."""
    if os.geteuid() == 0:
        # A container may hold root without these capabilities: then there is nothing to drop.
        with suppress(PermissionError):
            os.chroot(".")
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
    return os.geteuid() != 0


def lock(writable: Iterable[int], server_pid: int) -> bool:
    """Die with the server, gain no privilege, and accept the system call filter. False if there is no filter."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    # After the change of user, which clears the parent-death signal.
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != server_pid:
        os._exit(1)
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    if prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return seccomp.install(writable)
