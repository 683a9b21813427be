"""Which database errors mean 'try again later', and whether the transaction is known to be undone."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from services.mesh.errors import ServiceUnavailable

Outcome = Literal["rolled_back", "unknown"]

_SQLITE_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_SQLITE_UNDONE = _SQLITE_BUSY | {sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN}
_SQLITE_FAILING = _SQLITE_UNDONE | {sqlite3.SQLITE_IOERR}
# Connection, insufficient resources, operator intervention, serialization and deadlock, lock not available.
_POSTGRES_FAILING = ("08", "53", "57", "40", "55P03")


def unavailable(outcome: Outcome) -> ServiceUnavailable:
    """The error a caller sees; after 'unknown' the caller reads again by its unique id instead of repeating."""
    if outcome == "unknown":
        return ServiceUnavailable("The database did not confirm the commit.", outcome=outcome)
    return ServiceUnavailable("The database did not answer; nothing was changed.", outcome=outcome)


@contextmanager
def translated(*, committing: bool = False) -> Iterator[None]:
    """Failures of the database itself become ServiceUnavailable; what a statement did wrong stays as it is."""
    try:
        yield
    except PoolTimeoutError as error:
        raise unavailable("rolled_back") from error
    except DBAPIError as error:
        if not is_failing(error):
            raise
        raise unavailable("unknown" if committing and not is_undone(error) else "rolled_back") from error


def is_failing(error: DBAPIError) -> bool:
    """Whether the database, not the statement, is at fault."""
    if error.connection_invalidated:
        return True
    if isinstance(error, IntegrityError):
        return False
    if (sqlite_code := _sqlite_code(error)) is not None:
        return sqlite_code in _SQLITE_FAILING
    state = _sqlstate(error)
    if state is None:
        return type(error).__name__ in {"OperationalError", "InterfaceError"} and not isinstance(error.orig, sqlite3.Error)
    return state.startswith(_POSTGRES_FAILING)


def is_undone(error: DBAPIError) -> bool:
    """Whether a failed COMMIT is known to have changed nothing."""
    if (sqlite_code := _sqlite_code(error)) is not None:
        return sqlite_code in _SQLITE_UNDONE
    return (_sqlstate(error) or "").startswith(("40", "53"))


def _sqlite_code(error: DBAPIError) -> int | None:
    code = getattr(error.orig, "sqlite_errorcode", None)
    return None if code is None else int(code) & 0xFF


def _sqlstate(error: DBAPIError) -> str | None:
    state = getattr(error.orig, "sqlstate", None)
    return None if state is None else str(state)
