"""Row-level security of Postgres, the second lock of tenancy: a connection sees the rows of the workspace that it works for.

The first lock is the predicate in every statement. A request's transactions work for its caller's workspace; what nobody asks for, and
services that ask for no workspace, work for every one. A session of the services' role that says nothing sees no row.
"""

from collections.abc import Iterable

from services.mesh.identity import caller_or_none

SETTING = "steno.workspace"
EVERY = "*"
# For a connection whose session works for every workspace: libpq's `options`.
FOR_EVERY = f"-c {SETTING}={EVERY}"
_SCOPE = f"current_setting('{SETTING}', true)"
POLICY = "of_workspace"


def workspace_in_hand() -> str:
    """Whose rows the work in hand may see: a workspace's id, or EVERY."""
    caller = caller_or_none()
    return (caller.workspace_id if caller else "") or EVERY


def rows_of(column: str = "workspace_id") -> str:
    """The condition of a table whose column holds the workspace."""
    return f"{column} = {_SCOPE}"


def rows_beside(table: str, key: str, parent: str, parent_key: str = "id") -> str:
    """The condition of a table without a workspace: that the row of `parent` that it belongs to is in sight."""
    return f"EXISTS (SELECT FROM {parent} WHERE {parent}.{parent_key} = {table}.{key})"


def protection(table: str, condition: str) -> Iterable[str]:
    """Statements that let a table's owner, too, see no more rows than the condition allows."""
    yield f"CREATE POLICY {POLICY} ON {table} USING ({_SCOPE} = '{EVERY}' OR {condition})"
    yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
    yield f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"


def exposure(table: str) -> Iterable[str]:
    """What undoes `protection`."""
    yield f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY"
    yield f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"
    yield f"DROP POLICY {POLICY} ON {table}"
