"""Whether a database keeps what it confirms and workspaces apart, asked of the database itself before production relies on it."""

from sqlalchemy import column, select, table, text
from sqlalchemy.engine import make_url

from services.mesh.database import Database, open_database
from services.mesh.durability import NoAnswer
from services.mesh.errors import MeshError
from services.mesh.weaknesses import Weakness

_PROMISES = ("fsync", "full_page_writes", "synchronous_commit")
_setting = table("pg_settings", column("name"), column("setting"))
_OFF = select(_setting.c.name).where(_setting.c.name.in_(_PROMISES), _setting.c.setting == "off").order_by(_setting.c.name)
_ABOVE_ROW_SECURITY = text("SELECT rolname FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolbypassrls)")
_PRAGMAS = text("SELECT synchronous, journal_mode FROM pragma_synchronous, pragma_journal_mode")
_FULL = 2


async def ask_database(setting: str, url: str, schema: str) -> list[Weakness]:
    """What of this database a power cut could undo, and a role that row security does not hold.

    Raises NoAnswer, and ValueError and UnfitFile for a database that cannot be used. SQLite does what each
    connection asks of it, so the one that writes is asked what it got.
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
    async with database.reading() as session:
        connection = await session.connection()
        switched_off = (await connection.execute(_OFF)).scalars().all()
        role = (await connection.execute(_ABOVE_ROW_SECURITY)).scalar()
    found = [
        Weakness(f"{setting}: Postgres loses confirmed data in a power cut; turn on {name}", "database_durability") for name in switched_off
    ]
    if role is not None:
        cure = "use an owner of the database without SUPERUSER and BYPASSRLS"
        found.append(Weakness(f"{setting}: row security does not hold the role {role}; {cure}", "database_role"))
    return found


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _reason(error: MeshError) -> str:
    """What the driver said; without the lines below it, which quote the statement."""
    return str(error.__cause__ or error.message).partition("\n")[0]
