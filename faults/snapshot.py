"""What a mesh keeps, read behind its back: the rows of its databases and the blobs of its store. Nothing is ever written."""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import obstore
import psycopg
from obstore.store import S3Store
from psycopg import sql
from psycopg.rows import dict_row

from faults.meshes import BUCKET, Stores
from services.mesh.row_security import FOR_EVERY

Row = Mapping[str, Any]
_TABLES: Mapping[str, Sequence[str]] = {
    "jobs": ("job", "idempotency", "tombstone", "removal", "outbox"),
    "billing": ("hold", "transfer", "account", "outbox"),
    "storage": ("media", "artefact", "outbox"),
}
_EPOCH_MICROSECONDS = 1_000_000
_BUSY_SECONDS = 20.0


@dataclass(frozen=True)
class Blob:
    """What a blob of the store is. sha256: in hexadecimal. modify_time: seconds since 1970."""

    size_bytes: int
    sha256: str
    modify_time: float


@dataclass(frozen=True)
class Snapshot:
    """Rows by table of each service, as jobs.job, times as seconds since 1970; blobs by key."""

    rows: Mapping[str, Sequence[Row]]
    blobs: Mapping[str, Blob]

    def table(self, name: str) -> Sequence[Row]:
        """The rows of a table."""
        return self.rows[name]

    def by(self, name: str, column: str) -> dict[str, Row]:
        """The rows of a table by a column whose values are unique."""
        return {row[column]: row for row in self.rows[name]}


def read_snapshot(stores: Stores) -> Snapshot:
    """Everything, of a mesh that is at rest."""
    return Snapshot(read_rows(stores), dict(read_blobs(stores)))


def read_rows(stores: Stores) -> Mapping[str, Sequence[Row]]:
    """The rows of every table that the checker looks at."""
    found: dict[str, Sequence[Row]] = {}
    for service, tables in _TABLES.items():
        for table in tables:
            found[f"{service}.{table}"] = read_table(stores, service, table)
    return found


def read_table(stores: Stores, service: str, table: str) -> Sequence[Row]:
    """All rows of one table."""
    url = stores.databases[service]
    rows = _from_sqlite(url, table) if url.startswith("sqlite") else _from_postgres(url, service, table)
    return [{name: _plain(name, value) for name, value in row.items()} for row in rows]


def _from_sqlite(url: str, table: str) -> Iterable[Row]:
    path = url.partition(":///")[2]
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=_BUSY_SECONDS)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]  # noqa: S608 (our own table names)


def _from_postgres(url: str, schema: str, table: str) -> Iterable[Row]:
    options = f"-c default_transaction_read_only=on {FOR_EVERY}"
    with psycopg.connect(url.replace("+psycopg", ""), row_factory=dict_row, options=options) as connection:
        return connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, table))).fetchall()


def _plain(name: str, value: Any) -> Any:
    """SQLite keeps times as microseconds; both kinds come out as seconds."""
    if isinstance(value, datetime):
        return value.timestamp()
    return value / _EPOCH_MICROSECONDS if name.endswith(("_time", "_until")) and isinstance(value, int) else value


def read_blobs(stores: Stores) -> Iterator[tuple[str, Blob]]:
    """Every blob with its key; what is still being written is none."""
    if isinstance(stores.blobs, Path):
        for path in (stores.blobs / "objects").glob("*/*"):
            yield path.name, _blob_of(path.read_bytes(), path.stat().st_mtime)
        return
    store = S3Store(BUCKET, endpoint=stores.blobs, access_key_id="test", secret_access_key="test", client_options={"allow_http": True})
    for page in obstore.list(store):
        for item in page:
            yield (
                str(item["path"]).rpartition("/")[2],
                _blob_of(bytes(obstore.get(store, item["path"]).bytes()), item["last_modified"].timestamp()),
            )


def _blob_of(content: bytes, modify_time: float) -> Blob:
    return Blob(len(content), hashlib.sha256(content).hexdigest(), modify_time)


def pending(stores: Stores) -> Sequence[str]:
    """What keeps a mesh from being at rest, in words: jobs in flight, events unsent, holds open, removals due; empty at rest."""
    rows = read_rows(stores)
    left = {
        "jobs that have not ended": sum(row["state"] not in (3, 4, 5) for row in rows["jobs.job"]),
        "holds that are open": sum(row["state"] == "OPEN" and row["expire_time"] is None for row in rows["billing.hold"]),
        "removals that are due": len(rows["jobs.removal"]),
        "deletions under way": sum(row["state"] == "deleted" for kind in ("media", "artefact") for row in rows[f"storage.{kind}"]),
    }
    left |= {f"events of {service} unsent": sum(row["sent_time"] is None for row in rows[f"{service}.outbox"]) for service in _TABLES}
    return [f"{count} {what}" for what, count in left.items() if count]
