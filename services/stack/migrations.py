"""`steno migrate`: every database to the newest schema, with the services' own settings."""

import asyncio
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from alembic.util import CommandError
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError, ProgrammingError, SQLAlchemyError

import services
from services.client.failures import CommandFailed
from services.mesh.database import open_database
from services.mesh.errors import MeshError
from services.mesh.migrations import migrate
from services.mesh.settings import DatabaseSettings, UnusableSettings, read_settings


class Step(NamedTuple):
    """What a migration did to one database. before: empty for a new one."""

    service: str
    database: str
    before: str
    after: str


def run_migrate(names: Sequence[str]) -> None:
    """Migrate the databases of the named services and print what was done. Raises CommandFailed."""
    for name in names:
        settings = read_settings(_settings_class(name))
        shown = make_url(settings.database_url).render_as_string(hide_password=True)
        try:
            step = asyncio.run(_migrate(name, settings.database_url, shown))
        except (SQLAlchemyError, CommandError, UnusableSettings, MeshError, OSError, ValueError, ExceptionGroup) as error:
            raise CommandFailed(f"{name}: {shown} was not migrated: {_first(error)}") from error
        print(_describe(step), flush=True)


def _settings_class(name: str) -> type[DatabaseSettings]:
    found: type[DatabaseSettings] = getattr(importlib.import_module(f"services.{name}.settings"), f"{name.capitalize()}Settings")
    return found


async def _migrate(name: str, url: str, shown: str) -> Step:
    before = await _revision(url, name)
    scripts = Path(services.__file__).parent / name / "migrations"
    await migrate(url, schema=name, script_location=str(scripts))
    return Step(name, shown, before, await _revision(url, name))


async def _revision(url: str, schema: str) -> str:
    """The schema's revision; empty when it has none yet."""
    async with open_database(url, schema=schema) as database:
        try:
            async with database.reading() as session:
                found = await (await session.connection()).execute(text("SELECT version_num FROM alembic_version"))
                return str(found.scalar() or "")
        except (OperationalError, ProgrammingError):
            return ""


def _first(error: Exception) -> Exception:
    """The first error in a task group's."""
    return _first(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error


def _describe(step: Step) -> str:
    if step.before == step.after:
        return f"{step.service}: {step.database} is at {step.after} already"
    if not step.before:
        return f"{step.service}: {step.database} made, at {step.after}"
    return f"{step.service}: {step.database} brought from {step.before} to {step.after}"
