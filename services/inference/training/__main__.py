"""Trains what FOLDER orders and says so in JSON lines: `python -m services.inference.training FOLDER`.

Exits with 0 after `done` and after `failed`; anything else is a crash, after which it can be started again. Ends when its parent does.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

THREADS = "2"
# Read by XLA, and by NumPy's algebra, when they are first imported.
_LIMITS = ("PJRT_NPROC", "NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def main() -> None:
    """Print what the training says."""
    for variable in _LIMITS:
        os.environ[variable] = THREADS
    os.environ["JAX_PLATFORMS"] = "cpu"
    parent = os.getppid()

    def end_with_parent() -> None:
        if os.getppid() != parent:
            sys.exit("the parent is gone")

    for line in _said(Path(sys.argv[1]), end_with_parent):
        print(json.dumps(line), flush=True)


def _said(folder: Path, on_step: Any) -> Iterator[Mapping[str, Any]]:
    from services.inference.training.failures import TrainingFailed
    from services.inference.training.trainer import train

    try:
        yield from train(folder, on_step)
    except TrainingFailed as failed:
        yield {"failed": {"reason": failed.reason, "message": failed.message}}


if __name__ == "__main__":
    main()
