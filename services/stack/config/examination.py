"""What one service would read from here, and everything that is wrong with it."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from services.mesh.production import Inquiry, examine, inquiries
from services.mesh.settings import DatabaseSettings, ServiceSettings, problems_of
from services.stack.config.classes import settings_class, variables
from services.stack.config.shown import shown

_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True)
class Row:
    """One setting. source: default, environment, or file: one of the folder of secrets."""

    name: str
    value: str
    source: str


@dataclass
class Report:
    """What there is to say of one service. notes: what is not wrong, and seldom meant."""

    service: str
    settings: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def examine_service(service: str, given: Mapping[str, tuple[str, str]], secrets: Path | None, *, production: bool, ask: bool) -> Report:
    """Read a service's settings as it would. given: value and source of every variable; ask: whether to ask its servers too."""
    report = Report(service)
    settings = _read(service, report, secrets, {"profile": "production"} if production else {})
    report.settings.extend(_rows(service, given, settings))
    if settings is not None and settings.profile == "production":
        _judge(settings, report, ask=ask)
    return report


def _read(service: str, report: Report, secrets: Path | None, overrides: Mapping[str, Any]) -> ServiceSettings | None:
    found = settings_class(service)
    try:
        return found(_secrets_dir=secrets, **overrides)
    except ValidationError as error:
        report.problems.extend(problems_of(error, found))
        return None


def _rows(service: str, given: Mapping[str, tuple[str, str]], settings: ServiceSettings | None) -> Iterator[Row]:
    for name, about in settings_class(service).model_fields.items():
        names = variables(service, name, about)
        used = next((variable for variable in names if variable in given), "")
        raw, source = given.get(used, (about.get_default(call_default_factory=True, validated_data={}), "default"))
        value = getattr(settings, name) if settings is not None else raw
        yield Row(used or names[0], shown(about, value), source if used or name != "profile" else _profile_source(raw, value))


def _profile_source(default: Any, value: Any) -> str:
    return "default" if value == default else "--production"


def _judge(settings: ServiceSettings, report: Report, *, ask: bool) -> None:
    questions = [question for question in inquiries(settings) if not _is_sqlite(settings, question)] if ask else []
    try:
        verdict = asyncio.run(examine(settings, questions, asyncio.Event(), patience_seconds=_PATIENCE_SECONDS))
    except (ArgumentError, ValueError) as error:
        report.problems.append(f"{report.service}: {error}")
        return
    report.problems.extend(weakness.sentence for weakness in verdict.refused)
    report.notes.extend(f"accepted as {weakness.risk}: {weakness.sentence}" for weakness in verdict.accepted)
    if not settings.metrics_port:
        report.notes.append(f"STENO_{report.service.upper()}_METRICS_PORT is 0: nobody can watch this service")
    if settings.log_level == "debug":
        report.notes.append(f"STENO_{report.service.upper()}_LOG_LEVEL is debug: much is written, and nothing secret")


def _is_sqlite(settings: ServiceSettings, question: Inquiry) -> bool:
    """The service itself asks its SQLite: asked from here, another user might make the file."""
    if not isinstance(settings, DatabaseSettings) or not question.setting.endswith("DATABASE_URL"):
        return False
    return make_url(settings.database_url).get_backend_name() == "sqlite"
