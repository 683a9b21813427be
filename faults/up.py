"""`steno up` with some settings of its services replaced, wiring included: `python -m faults.up ENVIRONMENT_JSON steno up [OPTIONS]`.

The command itself lets nobody rewire its services. Here proxies stand between them, and clocks are not the machine's.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path

from services.mesh.telemetry import configure_logging
from services.stack.data_directory import DataDirectory
from services.stack.supervisor import up


def main() -> int:
    """Run the mesh until it is stopped; its exit status."""
    parser = argparse.ArgumentParser("python -m faults.up")
    parser.add_argument("environment", type=json.loads)
    parser.add_argument("--python", type=Path, help="runs the services instead of this one")
    parser.add_argument("command", nargs=2)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--engine", default="local")
    parser.add_argument("--ready-file", type=Path)
    asked = parser.parse_args()
    sys.executable = str(asked.python or sys.executable)
    configure_logging("stack", "warning", "auto")
    overrides = {"STENO_INFERENCE_ENGINE": asked.engine, **asked.environment}
    run = up(
        DataDirectory(asked.data), port=asked.port, ready_file=asked.ready_file, overrides=overrides, progress=_say, announce=lambda _: None
    )
    return asyncio.run(run)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
