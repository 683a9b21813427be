"""docs/contracts.md says nothing that no test proves, and leaves out no code."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

from services.gateway import contracts
from services.gateway.refusals import Answer

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "contracts.md"
# Refusals of Icana and Relay carry no code.
PACKAGES = [module.name for module in iter_modules(contracts.__path__) if module.ispkg and module.name not in ("icana", "relay")]
_CITED = re.compile(r"`([\w/]+\.py)::(\w+)`")


def rows() -> Iterator[tuple[int, str]]:
    """Rows of the tables, below their heads."""
    inside = False
    for number, line in enumerate(PAGE.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("|---"):
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside:
            yield number, line


@cache
def functions_of(path: Path) -> frozenset[str]:
    """Names of the test functions in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_row_cites_a_test_and_every_cited_test_exists() -> None:
    found = list(rows())
    assert len(found) > 150
    for number, line in found:
        cited = _CITED.findall(line)
        assert cited, f"line {number} cites no test: {line[:120]}"
        for file, name in cited:
            path = ROOT / file if file.startswith("tests/") else ROOT / "tests" / "gateway" / file
            assert path.is_file(), f"line {number}: no file {file}"
            assert name in functions_of(path), f"line {number}: no {name} in {file}"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_code_of_a_contract_stands_in_the_page(package: str) -> None:
    answers: dict[str, Answer] = import_module(f"services.gateway.contracts.{package}.errors").ANSWERS
    page = PAGE.read_text(encoding="utf-8")
    assert sorted({answer.code for answer in answers.values() if answer.code and f"`{answer.code}`" not in page}) == []
