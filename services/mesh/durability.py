"""Whether servers keep what they confirm, asked of the servers themselves before production relies on them."""

import ssl
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import column, select, table, text
from sqlalchemy.engine import make_url

from services.mesh.database import Database, open_database
from services.mesh.errors import MeshError
from services.mesh.weaknesses import Weakness

_PROMISES = ("fsync", "full_page_writes", "synchronous_commit")
_setting = table("pg_settings", column("name"), column("setting"))
_OFF = select(_setting.c.name).where(_setting.c.name.in_(_PROMISES), _setting.c.setting == "off").order_by(_setting.c.name)
_PRAGMAS = text("SELECT synchronous, journal_mode FROM pragma_synchronous, pragma_journal_mode")
_FULL = 2
_ANSWER_SECONDS = 3.0
_LARGEST_ANSWER_BYTES = 1024 * 1024


class NoAnswer(Exception):
    """A server does not answer, or not yet; the message says why."""


async def ask_database(setting: str, url: str, schema: str) -> list[Weakness]:
    """What of this database a power cut could undo. Raises NoAnswer, and ValueError and UnfitFile for one that cannot be used.

    SQLite does what each connection asks of it, so the one that writes is asked what it got.
    """
    if "@" in (make_url(url).host or ""):
        raise ValueError("its password has an @; write %40 instead")
    try:
        async with open_database(url, schema=schema) as database:
            return await (_sqlite if database.dialect == "sqlite" else _postgres)(setting, database)
    except ExceptionGroup as group:
        error = _first(group)
        raise NoAnswer(_reason(error)) if isinstance(error, MeshError) else error from group


async def _sqlite(setting: str, database: Database) -> list[Weakness]:
    async with database.transaction() as session:
        synchronous, journal = (await (await session.connection()).execute(_PRAGMAS)).one()
    weak = [f"synchronous is {synchronous}, not FULL"] if synchronous < _FULL else []
    weak += [f"journal_mode is {journal}, not WAL"] if journal != "wal" else []
    return [
        Weakness(f"{setting}: SQLite's {fault}; use a local disk that it may lock, or Postgres", "database_durability") for fault in weak
    ]


async def _postgres(setting: str, database: Database) -> list[Weakness]:
    return [
        Weakness(f"{setting}: Postgres loses confirmed data in a power cut; turn on {row.name}", "database_durability")
        for row in await database.read_all(_OFF)
    ]


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _reason(error: MeshError) -> str:
    """What the driver said; without the lines below it, which quote the statement."""
    return str(error.__cause__ or error.message).partition("\n")[0]


async def ask_nats(setting: str, url: str, authority_file: Path | None = None) -> list[Weakness]:
    """What of the bus's acknowledged messages a power cut could undo. url: of nats-server's monitor.

    authority_file: whom to trust where it is https; None for the machine's authorities. Raises NoAnswer, OSError.
    """
    trust = ssl.create_default_context(cafile=str(authority_file)) if authority_file and url.startswith("https:") else True
    try:
        async with httpx2.AsyncClient(timeout=_ANSWER_SECONDS, trust_env=False, verify=trust) as client:
            answer = await client.get(f"{url.rstrip('/')}/varz")
            found = answer.raise_for_status().json() if len(answer.content) <= _LARGEST_ANSWER_BYTES else None
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        raise NoAnswer(f"{type(error).__name__}: {error}") from error
    if not isinstance(found, dict) or "server_id" not in found:
        raise NoAnswer("this is no monitor of nats-server")
    return [Weakness(f"{setting}: {fault}", "bus_durability") for fault in _nats_faults(found)]


def _nats_faults(varz: dict[str, Any]) -> list[str]:
    """As nats-server 2.15 tells it: `sync_interval` in nanoseconds, and `sync_always` only where every write is synced."""
    config = varz.get("jetstream", {}).get("config")
    if not config:
        return ["JetStream is off; turn it on with `jetstream { store_dir: … }`"]
    if config.get("sync_always") is True:
        return []
    interval_seconds = config.get("sync_interval", 0) / 1e9
    return [
        f"nats-server syncs every {interval_seconds:g} s, and a power cut loses what it acknowledged since;"
        " set `sync_interval: always` in its jetstream block"
    ]
