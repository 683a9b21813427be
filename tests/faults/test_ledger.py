"""Billing's ledger is the model's, whatever happens (I-16 to I-21)."""

from pathlib import Path

import pytest

from faults.campaign import DatabaseKind, Options
from faults.campaigns import ledger


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_thousands_of_operations_leave_the_ledger_as_the_model_says(database: DatabaseKind, tmp_path: Path) -> None:
    figures = ledger.run(Options(tmp_path, database=database))
    assert [figure for figure in figures if not figure.holds] == []
