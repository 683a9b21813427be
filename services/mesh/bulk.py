"""Inserting any number of rows by one statement whose text is always the same.

One VALUES list per row makes a new text for every number of rows: on Postgres psycopg then takes it apart and the server
plans it each time, which was most of a commit. There the columns travel as arrays instead.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Table, bindparam, column, func, select
from sqlalchemy.dialects import postgresql, sqlite

from services.mesh.columns import DialectName

Insert = postgresql.Insert | sqlite.Insert
Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]


def insert_many(table: Table, names: Sequence[str], dialect: DialectName, **computed: ColumnElement[Any]) -> Insert:
    """A statement that takes these columns from `many_rows` and gives all rows what is computed. Build it once."""
    if dialect == "sqlite":
        return sqlite.insert(table).values(computed)
    arrays = (bindparam(name, type_=postgresql.ARRAY(table.c[name].type)) for name in names)
    new = func.unnest(*arrays).table_valued(*(column(name, table.c[name].type) for name in names), name="new").render_derived()
    return postgresql.insert(table).from_select([*names, *computed], select(*(new.c[name] for name in names), *computed.values()))


def many_rows(rows: Sequence[Mapping[str, Any]], dialect: DialectName) -> Parameters:
    """One or more rows as parameters of `insert_many`, in their order."""
    return list(rows) if dialect == "sqlite" else {name: [row[name] for row in rows] for name in rows[0]}
