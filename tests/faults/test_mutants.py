"""The harness finds mutants of the product, and nothing wrong with the product itself."""

import subprocess
import sys
from pathlib import Path

import pytest

from faults.campaign import Options
from faults.campaigns import mutants
from faults.mutants.catalogue.all import MUTANTS
from faults.mutants.edits import Edit, Misplaced, edited
from faults.mutants.mutant import Mutant
from faults.mutants.tree import ROOT, WrongCode, grow

EDIT = Edit("services/jobs/domain.py", '"""What jobs are and may become', '"""What jobs were and may become')


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each mutant is a test of its own."""
    if "mutant" in metafunc.fixturenames:
        metafunc.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])


def test_every_mutant_fits_the_source_and_still_compiles(mutant: Mutant) -> None:
    edits = [*(edit for mechanism in mutant.without for edit in mechanism.edits), *mutant.edits]
    for path, source in edited(ROOT, edits, mutant.name).items():
        assert source != (ROOT / path).read_text(encoding="utf-8")
        compile(source, path, "exec")


def test_there_are_at_least_twenty_mutants_and_each_has_its_name() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 20


def test_every_mutant_has_its_control_with_the_same_mechanisms_switched_off() -> None:
    controls = [
        (scenario.name, [mechanism.name for mechanism in control.without])
        for control in mutants.controls(MUTANTS)
        for scenario in control.scenarios
    ]
    for mutant in MUTANTS:
        assert (mutant.scenario.name, [mechanism.name for mechanism in mutant.without]) in controls


def test_moved_line_fails_with_the_name_of_the_mutant() -> None:
    with pytest.raises(Misplaced, match="no such line: 0 places"):
        edited(ROOT, [Edit(EDIT.path, "a line that is not there", "")], "no such line")
    with pytest.raises(Misplaced, match=r"too many: [1-9][0-9]* places"):
        edited(ROOT, [Edit(EDIT.path, "\n", "")], "too many")


def test_copy_runs_and_the_working_tree_stays(tmp_path: Path) -> None:
    before = (ROOT / EDIT.path).read_text(encoding="utf-8")
    tree = grow(tmp_path / "tree", "copy", [EDIT])
    program = "import os, services.jobs.domain as d; print(os.getpid(), d.__doc__)"
    told = subprocess.run(
        [sys.executable, "-P", "-c", program], env={**tree.environment}, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    pid, _, doc = told.stdout.partition(" ")
    assert doc.startswith("What jobs were")
    tree.check([int(pid)])
    assert (ROOT / EDIT.path).read_text(encoding="utf-8") == before


def test_process_that_runs_other_code_is_noticed(tmp_path: Path) -> None:
    tree = grow(tmp_path / "tree", "copy", [EDIT])
    told = subprocess.run(
        [sys.executable, "-c", "import os, services.jobs.domain; print(os.getpid())"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    with pytest.raises(WrongCode):
        tree.check([int(told.stdout)])


@pytest.mark.timeout(600)
def test_short_campaign_kills_its_mutants_and_passes_the_product(tmp_path: Path) -> None:
    figures = {figure.name: figure for figure in mutants.run(Options(tmp_path))}
    assert all(figure.holds for figure in figures.values()), figures
    assert figures["mutants killed"].value == len(mutants.SHORT)
