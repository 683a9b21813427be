"""Whether a revision of a database's schema only adds: the shape of its tables before and after, compared."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, inspect

_ALEMBIC = "alembic_version"


@dataclass(frozen=True)
class Table:
    """What statements of the version before rely on. required: columns that a row must be given. unique: by what rows differ."""

    columns: Mapping[str, str]
    not_null: frozenset[str]
    required: frozenset[str]
    unique: frozenset[tuple[tuple[str, ...], str]]
    checks: frozenset[str]
    references: frozenset[tuple[str, ...]]


def read_shape(connection: Connection) -> Mapping[str, Table]:
    """The tables of the connection's schema, by name."""
    inspector = inspect(connection)
    return {name: _read_table(inspector, name) for name in inspector.get_table_names() if name != _ALEMBIC}


def _read_table(inspector: Any, name: str) -> Table:
    columns = inspector.get_columns(name)
    key = inspector.get_pk_constraint(name)["constrained_columns"]
    not_null = {column["name"] for column in columns if not column["nullable"]}
    indexes = [index for index in inspector.get_indexes(name) if index["unique"]]
    return Table(
        columns={column["name"]: str(column["type"]) for column in columns},
        not_null=frozenset(not_null),
        required=frozenset(column["name"] for column in columns if column["name"] in not_null and column["default"] is None),
        unique=frozenset({(tuple(sorted(key)), ""), *((tuple(sorted(index["column_names"])), _condition(index)) for index in indexes)}),
        checks=frozenset(check["sqltext"] for check in inspector.get_check_constraints(name)),
        references=frozenset(tuple(one["constrained_columns"]) for one in inspector.get_foreign_keys(name)),
    )


def _condition(index: Mapping[str, Any]) -> str:
    """Of an index over some of the rows."""
    options = index.get("dialect_options", {})
    return next((str(value) for name, value in options.items() if name.endswith("_where")), "")


def narrowings(before: Mapping[str, Table], after: Mapping[str, Table]) -> Iterator[str]:
    """What the version before can no longer do, a sentence each; a rename is a column or table that went."""
    for name, old in before.items():
        if name not in after:
            yield f"table {name} is gone"
            continue
        yield from (f"{name}: {sentence}" for sentence in _narrowed(old, after[name]))


def _narrowed(old: Table, new: Table) -> Iterator[str]:
    for column, kind in old.columns.items():
        if column not in new.columns:
            yield f"column {column} is gone"
        elif new.columns[column] != kind:
            yield f"column {column} was {kind} and is {new.columns[column]}"
    for column in sorted(new.not_null - old.not_null):
        if column in old.columns:
            yield f"column {column} must not be null any more"
        elif column in new.required:
            yield f"new column {column} must not be null and has no default"
    for columns, condition in sorted(new.unique - old.unique):
        if set(columns) <= old.columns.keys():
            yield f"rows must differ by {', '.join(columns)}{f' where {condition}' if condition else ''}"
    yield from (f"rows are checked: {check}" for check in sorted(new.checks - old.checks))
    yield from (f"{', '.join(columns)} must refer to a row" for columns in sorted(new.references - old.references))
