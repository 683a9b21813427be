"""The command `steno config check`."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from services.mesh.settings import SECRETS_VARIABLE
from services.mesh.telemetry import configure_logging
from services.stack.config.classes import SERVICES
from services.stack.config.examination import Report, examine_service
from services.stack.config.unknown import unknown_variables


def run_config_check(services: Sequence[str], *, production: bool, ask: bool, as_json: bool) -> int:
    """Print every setting of the named services, or of all, and every problem; returns 2 when there is one, else 0."""
    configure_logging("config", "error")
    chosen = list(dict.fromkeys(services)) or list(SERVICES)
    folder = Path(os.environ[SECRETS_VARIABLE]) if os.environ.get(SECRETS_VARIABLE) else None
    given = given_variables(os.environ, folder)
    problems = [f"{SECRETS_VARIABLE}: {folder} is no folder"] if folder and not folder.is_dir() else []
    secrets = None if problems else folder
    reports = [examine_service(service, given, secrets, production=production, ask=ask) for service in chosen]
    problems += [*unknown_variables(chosen, given), *(problem for report in reports for problem in report.problems)]
    if as_json:
        print(json.dumps({"services": [asdict(report) for report in reports], "problems": problems}, indent=2))
    else:
        _print(reports, problems)
    return 2 if problems else 0


def given_variables(environment: Mapping[str, str], folder: Path | None) -> dict[str, tuple[str, str]]:
    """Value and source of every variable of Steno that is not empty; the environment goes before the files of the folder."""
    given: dict[str, tuple[str, str]] = {}
    if folder is not None and folder.is_dir():
        for path in sorted(folder.glob("STENO_*")):
            if path.is_file():
                given[path.name.upper()] = (path.read_text().strip(), "file")
    given.update({name: (value, "environment") for name, value in environment.items() if name.startswith("STENO_") and value})
    return given


def _print(reports: Sequence[Report], problems: Sequence[str]) -> None:
    for report in reports:
        print(report.service)
        width = max(len(row.name) for row in report.settings)
        for row in report.settings:
            print(f"  {row.name:<{width}}  {row.source:<12}  {row.value}".rstrip())
        for note in report.notes:
            print(f"  note: {note}")
    for problem in problems:
        print(f"PROBLEM  {problem}")
    count = len(problems)
    print("no problems" if not count else f"{count} problem{'s' if count > 1 else ''}")
