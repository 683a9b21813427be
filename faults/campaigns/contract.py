"""Requests made from the API's own documents, alone and in chains: every answer keeps to them."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from faults.campaign import Figure, Options
from faults.edge_mesh import pids, unhurried_mesh
from tests.e2e.mesh import Mesh

_SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"
_SHORT, _LONG = 300, 20_000
_SHORT_SECONDS, _LONG_SECONDS = 40, 120
_FIRST_PHASES, _LATER_PHASES = "examples,coverage,fuzzing,stateful", "fuzzing,stateful"
_SPARE_SECONDS = 240
_TOLD_LINES = 200
_Report = Mapping[str, Any]


def run(options: Options) -> Sequence[Figure]:
    """Runs of Schemathesis, each with a seed of its own, until enough requests were made; the short form makes one run."""
    wanted = options.amount(_SHORT, _LONG)
    with unhurried_mesh(options.folder) as mesh:
        processes = pids(mesh)
        reports = [_report(mesh, options, options.seed, _FIRST_PHASES)]
        while _requests(reports) < wanted and (options.long or options.count is not None):
            reports.append(_report(mesh, options, options.seed + len(reports), _LATER_PHASES))
        deaths = sum(pid != processes[name] for name, pid in pids(mesh).items())
    return [
        Figure("operations", reports[0]["operations"]["tested"], at_least=reports[0]["operations"]["selected"]),
        Figure("runs", len(reports)),
        Figure("requests", _requests(reports), at_least=wanted),
        Figure("answers of 5xx", _failures(reports, server=True), at_most=0),
        Figure("answers outside the documents", _failures(reports, server=False), at_most=0),
        Figure("requests that could not be made", sum(report["test_cases"]["errored"] for report in reports), at_most=0),
        Figure("processes that died", deaths, at_most=0),
    ]


def _requests(reports: Sequence[_Report]) -> int:
    return sum(report["test_cases"]["generated"] for report in reports)


def _failures(reports: Sequence[_Report], *, server: bool) -> int:
    found = [failure for report in reports for failure in report["failures"]]
    return sum(failure["count"] for failure in found if (failure["type"] == "ServerError") == server)


def _report(mesh: Mesh, options: Options, seed: int, phases: str) -> _Report:
    """One run. Not asked for: that every request which fits the schema is accepted, for no schema says which bytes are a recording."""
    path, seconds = options.folder / f"contract-{seed}.json", _LONG_SECONDS if options.long else _SHORT_SECONDS
    command = [
        str(_SCHEMATHESIS),
        "--no-color",
        "run",
        f"{mesh.ready['url']}/openapi.json",
        f"--header=X-API-Key: {mesh.ready['api_key']}",
        "--checks=all",
        "--exclude-checks=positive_data_acceptance",
        f"--phases={phases}",
        "--continue-on-failure",
        f"--max-time={seconds}",
        "--request-timeout=20",
        # Server-sent events end with their job.
        "--exclude-path-regex=events$",
        "--suppress-health-check=all",
        f"--seed={seed}",
        "--report=json",
        f"--report-json-path={path}",
    ]
    done = subprocess.run(command, cwd=options.folder, capture_output=True, text=True, timeout=seconds + _SPARE_SECONDS, check=False)
    if not path.exists():
        raise AssertionError(f"seed {seed} made no report:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    if done.returncode:
        print("\n".join(done.stdout.splitlines()[-_TOLD_LINES:]), flush=True)
    report: _Report = json.loads(path.read_text())
    return report
