"""What docs/contracts says is proven has a test of that name."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs" / "contracts").glob("*.md"))
CITED = re.compile(r"`((?:tests/)?[\w/]+\.py)::(\w+)`")


def cited(page: Path) -> Iterator[tuple[Path, str]]:
    """Every test that a page names; files without a folder are the gateway's."""
    for path, name in CITED.findall(page.read_text()):
        yield ROOT / (path if "/" in path else f"tests/gateway/{path}"), name


def names_in(path: Path) -> set[str]:
    """The names of a file's tests."""
    found = ast.walk(ast.parse(path.read_text()))
    return {node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_cited_test_exists(page: Path) -> None:
    named = list(cited(page))
    assert named
    assert [f"{path.name}::{name}" for path, name in named if not path.exists() or name not in names_in(path)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_proven_row_cites_a_test(page: Path) -> None:
    _, _, proven = page.read_text().partition("## What is proven")
    rows = [line for line in proven.splitlines() if line.startswith("|") and not line.startswith(("|---", "| of the contract"))]
    assert rows
    assert [row for row in rows if not CITED.search(row)] == []
