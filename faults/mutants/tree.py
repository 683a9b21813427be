"""Copies of the product's code with edits, and the proof that it is the copy which runs."""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from faults.mutants.edits import Edit, edited

ROOT = Path(__file__).resolve().parents[2]
_RAN = "ran"
_MARK = f"""

import os
from pathlib import Path

(Path(__file__).parents[1] / "{_RAN}" / str(os.getpid())).touch()
"""


class WrongCode(Exception):
    """A process runs other code than the copy."""


class Tree:
    """A copy of `services` and the generated protos below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def environment(self) -> Mapping[str, str]:
        """What makes a Python process run the copy."""
        return {"PYTHONPATH": os.pathsep.join((str(self.root), str(self.root / "protos")))}

    def check(self, pids: Iterable[int]) -> None:
        """Raises WrongCode unless each of the processes imported the copy."""
        elsewhere = [pid for pid in pids if not (self.root / _RAN / str(pid)).exists()]
        if elsewhere:
            raise WrongCode(f"the processes {elsewhere} do not run {self.root}")


def grow(root: Path, name: str, edits: Sequence[Edit]) -> Tree:
    """A copy with the edits, marked so that every process that imports it leaves its id. Raises Misplaced."""
    shutil.copytree(ROOT / "services", root / "services")
    shutil.copytree(ROOT / "protos" / "steno", root / "protos" / "steno")
    (root / _RAN).mkdir()
    for path, source in edited(root, edits, name).items():
        (root / path).write_text(source, encoding="utf-8")
    with (root / "services" / "__init__.py").open("a", encoding="utf-8") as package:
        package.write(_MARK)
    return Tree(root)
