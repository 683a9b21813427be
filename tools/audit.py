"""Ask for known vulnerabilities of every locked package: `python -m tools.audit [--service osv]`.

Ends with 0 when all were asked for and none is known, 1 when one is known, 3 when some could not be asked for: silence is no answer.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.locks import FOLDER, ROOT, SOURCE

LOCKS = (SOURCE, FOLDER / "triton-gpu.lock", ROOT / "deploy" / "triton" / "requirements.lock")
KNOWN, UNASKED = 1, 3
_SECONDS = 900.0


@dataclass(frozen=True)
class Finding:
    """What was answered for the packages of one lock. trouble: why nothing was, empty otherwise."""

    lock: str
    asked: int
    vulnerable: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()
    trouble: str = ""


def ask(lock: Path, service: str) -> Finding:
    """Hand one lock to pip-audit."""
    name = str(lock.relative_to(ROOT))
    program = str(Path(sys.executable).with_name("pip-audit"))
    options = ["--require-hashes", "--disable-pip", "--format=json", "--progress-spinner=off", f"--vulnerability-service={service}"]
    try:
        answer = subprocess.run(
            [program, *options, "--requirement", str(lock)], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding(name, 0, trouble=f"no answer within {_SECONDS:g} s")
    return read_answer(name, answer.stdout, answer.stderr)


def read_answer(lock: str, output: str, errors: str) -> Finding:
    """What pip-audit's JSON says; a package that the service does not know was not audited."""
    try:
        rows = json.loads(output)["dependencies"]
    except (json.JSONDecodeError, KeyError):
        return Finding(lock, 0, trouble=(errors.strip().splitlines() or ["pip-audit said nothing"])[-1][:300])
    vulnerable = (f"{row['name']} {row['version']}: {_ids(row)}" for row in rows if row.get("vulns"))
    unasked = (f"{row['name']}: {row['skip_reason']}" for row in rows if "skip_reason" in row)
    return Finding(lock, len(rows), tuple(vulnerable), tuple(unasked))


def _ids(row: dict[str, list[dict[str, str]]]) -> str:
    return ", ".join(found["id"] for found in row["vulns"])


def report(findings: Iterable[Finding]) -> int:
    """Print what was found; returns the exit status."""
    status = 0
    for finding in findings:
        if finding.trouble or not finding.asked:
            print(f"{finding.lock}: NOT AUDITED: {finding.trouble or 'no packages'}")
        elif finding.unasked:
            print(f"{finding.lock}: NOT AUDITED: {len(finding.unasked)} of {finding.asked} packages, such as {finding.unasked[0]}")
        elif not finding.vulnerable:
            print(f"{finding.lock}: {finding.asked} packages, no known vulnerability")
        for line in finding.vulnerable:
            print(f"{finding.lock}: VULNERABLE: {line}")
        status = max(status, KNOWN if finding.vulnerable else 0, key=_weight)
        status = max(status, UNASKED if finding.trouble or finding.unasked or not finding.asked else 0, key=_weight)
    return status


def _weight(status: int) -> int:
    """A known vulnerability is worse news than none asked for."""
    return {0: 0, UNASKED: 1, KNOWN: 2}[status]


def main(given: Sequence[str]) -> int:
    """Audit all locks."""
    parser = argparse.ArgumentParser(prog="python -m tools.audit", description=__doc__)
    parser.add_argument("--service", choices=("pypi", "osv"), default="pypi", help="whose list of vulnerabilities")
    service = parser.parse_args(given).service
    return report(ask(lock, service) for lock in LOCKS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
