"""The crash points in the product's code, found by reading it."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, order=True)
class CrashPoint:
    """One call of `fault.point`. file: below the repository, as services/jobs/usecases/create.py."""

    name: str
    file: str

    @property
    def service(self) -> str:
        """The package that the call is in: a service, `stack`, or `mesh` for what every service runs."""
        return self.file.split("/")[1]


def crash_points() -> Sequence[CrashPoint]:
    """Every crash point, by name. Raises ValueError for one whose name is not written out where it is called."""
    files = sorted((_REPOSITORY / "services").rglob("*.py"))
    return sorted(point for file in files for point in _points_of(file))


def _points_of(file: Path) -> Iterator[CrashPoint]:
    source = file.read_text(encoding="utf-8")
    if "fault.point(" not in source:
        return
    place = file.relative_to(_REPOSITORY).as_posix()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "fault.point":
            yield CrashPoint(_literal(node, place), place)


def _literal(call: ast.Call, place: str) -> str:
    match call.args:
        case [ast.Constant(value=str(name))] if not call.keywords:
            return name
    raise ValueError(f"{place}:{call.lineno}: a crash point's name is one literal string")
