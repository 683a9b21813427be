"""Become another program, of low priority, that ends when its parent does: `python -m …launch PARENT_PID PROGRAM [ARGUMENT…]`."""

import os
import sys

from services.inference.tether import die_with

NICENESS = 15


def main() -> None:
    """What the kernel was told survives the change of program."""
    die_with(int(sys.argv[1]))
    os.nice(NICENESS)
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 (the parent's own command line)


if __name__ == "__main__":
    main()
