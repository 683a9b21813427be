"""Become another program that ends when its parent does: `python tether.py PARENT_PID PROGRAM [ARGUMENT…]`.

A launcher instead of `preexec_fn`, which is unsafe beside threads. Linux; elsewhere it only becomes the program.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def tether(parent_pid: int) -> None:
    """Ask the kernel for SIGTERM when the parent dies; exits at once if it already has."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent_pid:
        sys.exit(1)


if __name__ == "__main__":
    tether(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 (the supervisor's own command line)
