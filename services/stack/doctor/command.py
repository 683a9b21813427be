"""The command `steno doctor`."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

from services.stack.doctor import machine, server, speech, triton
from services.stack.doctor.findings import Finding, State, problem

_MARKS = {State.OK: "ok     ", State.WARNING: "warning", State.PROBLEM: "PROBLEM"}


def run_doctor(data: Path, port: int, engine: str, as_json: bool, *, remote: bool = False) -> int:
    """Print what every check finds; returns 1 when there is a problem, else 0.

    engine: the one that shall run. remote: look at the server of STENO_URL alone, and not at this machine.
    """
    report: dict[str, Finding] = {}
    for name, check in _server_checks() if remote else _checks(data, port, engine):
        report[name] = _examine(check)
        if not as_json:
            _print(name, report[name])
    if as_json:
        print(json.dumps([{"check": name, **asdict(finding)} for name, finding in report.items()], indent=2))
    return int(any(finding.state is State.PROBLEM for finding in report.values()))


def _checks(data: Path, port: int, engine: str) -> Iterator[tuple[str, Callable[[], Finding]]]:
    yield "python", machine.check_python
    yield "protobuf", machine.check_protobuf
    yield "nats", machine.check_nats
    yield "data folder", partial(machine.check_folder, data)
    yield "file system", partial(machine.check_file_system, data)
    yield "disk space", partial(machine.check_space, data)
    yield "port", partial(machine.check_port, port)
    yield "formats", speech.check_formats
    yield "sandbox", speech.check_sandbox
    yield "voice activity", speech.check_vad
    yield "training", speech.check_training
    if engine == "triton":
        yield "triton", partial(triton.check_triton, data)
    else:
        yield "engine", speech.check_engine
    if os.environ.get("STENO_URL"):
        yield from _server_checks()


def _server_checks() -> Iterator[tuple[str, Callable[[], Finding]]]:
    yield "server", server.check_server
    yield "api key", server.check_key


def _examine(check: Callable[[], Finding]) -> Finding:
    """What the check found; one that breaks has found a problem of its own."""
    try:
        return check()
    except Exception as error:  # a diagnosis reports whatever happens and goes on to the next check
        return problem(f"{type(error).__name__}: {error}", "this check itself failed; install Steno again, or report it")


def _print(name: str, finding: Finding) -> None:
    remedy = f": {finding.remedy}" if finding.remedy else ""
    print(f"{_MARKS[finding.state]}  {name:<14}  {finding.message}{remedy}", flush=True)
