"""One CSV file for a whole folder: file, start, end (or start_ms, end_ms), label and, if wanted, confidence."""

import csv
from collections.abc import Iterator
from decimal import Decimal

from services.datasets_cli.labels import BadLabel, Label, Reading, collect, make_label, number, seconds

Named = tuple[str, Label]
Cells = dict[str, str]
_SEPARATORS = ",;\t"


def read_table(text: str, name: str) -> Reading[Named]:
    """The labels of a table, each with the file that it names."""
    lines = text.splitlines(keepends=True)
    header = lines[0] if lines else ""
    reader = csv.reader(lines, delimiter=max(_SEPARATORS, key=header.count), strict=True)
    try:
        columns = [cell.strip().lower() for cell in next(reader, [])]
        missing = _missing(columns)
        if missing:
            return Reading(problems=[f"{name}: the first line names no column {missing}"])
        return collect(_rows(reader, columns, name), _named)
    except csv.Error as error:
        return Reading(problems=[f"{name} line {reader.line_num}: {error}"])


def _missing(columns: list[str]) -> str:
    pairs = (("file",), ("start", "start_ms"), ("end", "end_ms"), ("label",))
    return next((" or ".join(names) for names in pairs if not set(names) & set(columns)), "")


def _rows(reader: Iterator[list[str]], columns: list[str], name: str) -> Iterator[tuple[str, Cells]]:
    for index, row in enumerate(reader, 2):
        place = f"{name} line {getattr(reader, 'line_num', index)}"
        yield place, dict(zip(columns, (cell.strip() for cell in row), strict=False))


def _named(place: str, row: Cells) -> Named | None:
    if not any(row.values()):
        return None
    if not row.get("file"):
        raise BadLabel("no file is named")
    confidence = number(row["confidence"], "a confidence") if row.get("confidence") else Decimal(1)
    return row["file"], make_label(row.get("label", ""), _time(row, "start"), _time(row, "end"), confidence, place)


def _time(row: Cells, name: str) -> Decimal:
    if row.get(f"{name}_ms"):
        return number(row[f"{name}_ms"], "a number of milliseconds")
    return seconds(row.get(name, ""))
