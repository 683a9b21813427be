"""The command `steno up`."""

import asyncio
import errno
import sys
from pathlib import Path

from services.client.failures import CommandFailed
from services.mesh.errors import MeshError
from services.mesh.settings import UnusableSettings
from services.mesh.telemetry import configure_logging
from services.stack.announcement import announce
from services.stack.children import LONGEST_RESTART_SECONDS
from services.stack.chosen_model import choose_model
from services.stack.data_directory import DataDirectory, DataDirectoryError
from services.stack.supervisor import StartFailed, up
from services.stack.triton.embedded import prepare_triton
from services.stack.triton.failures import TritonUnavailable


def run_up(
    root: Path, port: int, ready_file: Path | None, engine: str, model: str, verbose: bool, *, tls: bool, restart_seconds: float | None
) -> int:
    """Run the mesh until it is stopped; returns the exit status. Raises CommandFailed when it cannot start."""
    configure_logging("stack", "warning", "auto")
    data = DataDirectory(root)
    overrides = {"STENO_INFERENCE_ENGINE": engine, **choose_model(data, model)}
    try:
        triton = prepare_triton(data, overrides, _say) if engine == "triton" else None
        run = up(
            data,
            port=port,
            ready_file=ready_file,
            overrides=overrides,
            progress=_say,
            announce=lambda mesh: print(announce(mesh), flush=True),
            triton=triton,
            show_line=_show_line if verbose else None,
            tls=tls,
            restart_seconds=restart_seconds or LONGEST_RESTART_SECONDS,
        )
        return asyncio.run(run)
    except (DataDirectoryError, StartFailed, TritonUnavailable, UnusableSettings, FileNotFoundError) as error:
        raise CommandFailed(f"Steno did not start: {error}") from error
    except MeshError as error:
        raise CommandFailed(f"Steno did not start: {error.message}; the logs are in {data.logs}") from error
    except OSError as error:
        raise CommandFailed(f"Steno did not start: {_explain(error, port)}") from error


def _explain(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is taken; choose another with --port, or 0 for a free one"
    if error.errno == errno.EACCES and error.filename is None:
        return f"port {port} needs more rights than you have; choose one above 1023 with --port"
    return str(error)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _show_line(name: str, line: str) -> None:
    _say(f"{name:<9} | {line}")
