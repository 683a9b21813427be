"""Whether a database server keeps what it confirms, asked before production relies on it."""

import asyncio
import random

from sqlalchemy import column, select, table

from services.mesh.database import Database
from services.mesh.errors import ServiceUnavailable
from services.mesh.lifecycle import wait_or_stop
from services.mesh.settings import UnusableSettings
from services.mesh.telemetry import get_logger

_PROMISES = ("fsync", "full_page_writes", "synchronous_commit")
_LONGEST_DELAY_SECONDS = 2.0
_setting = table("pg_settings", column("name"), column("setting"))
_OFF = select(_setting.c.name).where(_setting.c.name.in_(_PROMISES), _setting.c.setting == "off").order_by(_setting.c.name)


async def require_durable(database: Database, stopping: asyncio.Event) -> None:
    """Wait until Postgres answers or `stopping`. Raises UnusableSettings when a power cut could undo what it confirmed.

    SQLite does what each connection asks of it, which `services.mesh.engines` does.
    """
    if database.dialect == "sqlite":
        return
    delay = 0.05
    while not stopping.is_set():
        try:
            off = [row.name for row in await database.read_all(_OFF)]
        except ServiceUnavailable as error:
            get_logger("mesh.durability").warning("database does not answer yet", error=str(error))
            await wait_or_stop(stopping, delay * random.uniform(0.5, 1.0))  # noqa: S311
            delay = min(delay * 2, _LONGEST_DELAY_SECONDS)
            continue
        if off:
            raise UnusableSettings(f"Postgres loses confirmed data in a power cut: turn on {', '.join(off)}")
        return
