"""The interpreter of Triton's models is whole, of its lock, or not there."""

import sys
from pathlib import Path

import pytest

from services.stack.triton.deployment import find_deployment
from services.stack.triton.failures import TritonUnavailable
from services.stack.triton.interpreter import (
    NEEDED,
    VARIABLE,
    ensure_interpreter,
    find_uv,
    made_from,
    main,
    make_interpreter,
    open_interpreter,
    validated,
)
from services.stack.triton.python import VERSIONS, check_machine, examine, find_python, unfit
from tests.triton_server import interpreter

LOCK = find_deployment() / "requirements.lock"
PREPARED = interpreter().executable.parent.parent


def _silent(_: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """A lock without packages."""
    path = tmp_path / "requirements.lock"
    path.write_text("# nothing\n")
    return path


def test_interpreter_is_of_its_lock_until_the_lock_changes(tmp_path: Path, lock: Path) -> None:
    folder, said = tmp_path / "interpreter", list[str]()
    make_interpreter(folder, lock, said.append, find_uv())
    assert str(folder) in said[0]
    assert made_from(folder, lock)
    (folder / "of-the-former-lock").touch()
    lock.write_text("# nothing, in other words\n")
    assert not made_from(folder, lock)
    make_interpreter(folder, lock, said.append, find_uv())
    assert made_from(folder, lock)
    assert not (folder / "of-the-former-lock").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["interpreter", "requirements.lock"]


def test_interpreter_is_made_without_uv_too(tmp_path: Path, lock: Path) -> None:
    make_interpreter(tmp_path / "interpreter", lock, _silent, None)
    python = examine(tmp_path / "interpreter" / "bin" / "python")
    assert made_from(tmp_path / "interpreter", lock)
    assert python.packages_folder.is_relative_to(tmp_path)
    assert unfit(python) == ""


def test_interpreter_that_cannot_be_made_whole_is_not_there(tmp_path: Path, lock: Path) -> None:
    folder = tmp_path / "interpreter"
    make_interpreter(folder, lock, _silent, find_uv())
    other = tmp_path / "other.lock"
    other.write_text(f"numpy @ {(tmp_path / 'numpy-1.26.4-py3-none-any.whl').as_uri()} --hash=sha256:{'0' * 64}\n")
    with pytest.raises(TritonUnavailable, match=VARIABLE):
        make_interpreter(folder, other, _silent, find_uv())
    with pytest.raises(TritonUnavailable, match="failed"):
        ensure_interpreter(tmp_path / "missing", other, _silent)
    assert made_from(folder, lock)
    assert not (tmp_path / "missing").exists()


def test_prepared_interpreter_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = list[str]()
    assert ensure_interpreter(PREPARED, LOCK, said.append).version in VERSIONS
    monkeypatch.setenv(VARIABLE, str(PREPARED))
    assert open_interpreter(tmp_path / "unused", said.append) == validated(PREPARED)
    assert said == []
    assert not (tmp_path / "unused").exists()


def test_interpreter_has_what_the_models_need_and_nothing_else() -> None:
    assert set(validated(PREPARED).packages) == set(NEEDED)
    assert {line.split("==")[0] for line in LOCK.read_text().splitlines() if "==" in line} == set(NEEDED)


def test_broken_interpreter_is_told(tmp_path: Path) -> None:
    with pytest.raises(TritonUnavailable, match="does not run"):
        validated(tmp_path)


def test_interpreter_that_lacks_packages_is_told_with_the_lock(tmp_path: Path, lock: Path) -> None:
    make_interpreter(tmp_path / "interpreter", lock, _silent, find_uv())
    with pytest.raises(TritonUnavailable, match=r"lacks numpy.*requirements\.lock"):
        validated(tmp_path / "interpreter")


def test_newer_numpy_is_refused(tmp_path: Path, lock: Path) -> None:
    make_interpreter(tmp_path / "interpreter", lock, _silent, find_uv())
    packages = examine(tmp_path / "interpreter" / "bin" / "python").packages_folder
    for name in NEEDED:
        described = packages / f"{name.replace('-', '_')}-2.0.0.dist-info"
        described.mkdir()
        (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0.0\n")
    with pytest.raises(TritonUnavailable, match="answers empty; install numpy<2"):
        validated(tmp_path / "interpreter")


def test_this_python_is_taken_where_it_fits() -> None:
    check_machine()
    found = examine(find_python())
    assert found.version in VERSIONS
    assert unfit(found) == ""
    if examine(Path(sys.executable)).version in VERSIONS:
        assert find_python() == Path(sys.executable)


def test_command_makes_nothing_where_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(PREPARED)]) == 0
    assert capsys.readouterr().out == ""
