"""Models are found whole or not at all, whoever installs them at the same time and however that ends."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from services.inference.models.catalogue.bundled import TEST_MODEL, install_bundled
from services.inference.models.catalogue.errors import ModelBroken, ModelBusy, ModelMissing
from services.inference.models.catalogue.exporting import export_locked
from services.inference.models.catalogue.folders import locked, publish, remove
from services.inference.models.catalogue.installed import InstalledModel, find_model, list_models
from services.inference.models.catalogue.known import resolve
from services.inference.models.catalogue.manifest import read_manifest, write_manifest
from services.inference.models.whisper.precision import Precision
from tests.inference.models.tiny_whisper import build_tiny_whisper

ROOT = Path(__file__).parents[3]
INSTALL = """
import sys
from pathlib import Path
from services.inference.models.catalogue.bundled import install_bundled
print(install_bundled(Path(sys.argv[1]), source=Path(sys.argv[2])).name)
"""
HOLD = """
import sys, time
from pathlib import Path
from services.inference.models.catalogue.folders import locked
with locked(Path(sys.argv[1]), "small"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as it is bundled: without exports."""
    return build_tiny_whisper(tmp_path_factory.mktemp("bundled") / "checkpoint")


@pytest.fixture
def installed(checkpoint: Path, tmp_path: Path) -> InstalledModel:
    """The model, installed."""
    return install_bundled(tmp_path / "models", source=checkpoint)


def start(program: str, *arguments: Path) -> subprocess.Popen[str]:
    """A program in a process of its own."""
    return subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True, cwd=ROOT)


def test_the_bundled_model_is_there_after_the_first_use(installed: InstalledModel, checkpoint: Path) -> None:
    found = find_model(installed.folder.parent, TEST_MODEL)
    assert found.test
    assert found.precisions == (Precision.FP32,)
    assert found.manifest.files.keys() == {path.name for path in checkpoint.iterdir()}
    assert list_models(installed.folder.parent) == [found]


def test_an_installed_model_is_not_made_again(installed: InstalledModel, checkpoint: Path) -> None:
    before = (installed.folder / "onnx" / "fp32" / "decoder.onnx").stat().st_mtime_ns
    install_bundled(installed.folder.parent, source=checkpoint)
    assert (installed.folder / "onnx" / "fp32" / "decoder.onnx").stat().st_mtime_ns == before


def test_a_bundled_model_of_another_release_replaces_it(installed: InstalledModel, checkpoint: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(checkpoint, other)
    (other / "README.md").write_text("A later release.")
    found = install_bundled(installed.folder.parent, Precision.INT8, other)
    assert (found.folder / "README.md").is_file()
    assert found.precisions == (Precision.FP32, Precision.INT8)


def test_processes_that_install_at_once_make_one_model(checkpoint: Path, tmp_path: Path) -> None:
    processes = [start(INSTALL, tmp_path / "models", checkpoint) for _ in range(3)]
    assert [process.communicate(timeout=60)[0].strip() for process in processes] == [TEST_MODEL] * 3
    assert [path.name for path in (tmp_path / "models").iterdir() if path.is_dir()] == [TEST_MODEL]


def test_a_killed_installation_shows_nothing_and_the_next_one_succeeds(checkpoint: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    process = start(INSTALL, models, checkpoint)
    until = time.monotonic() + 30
    while not (models / f".{TEST_MODEL}.new" / "config.json").exists() and time.monotonic() < until:
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    with pytest.raises(ModelMissing):
        find_model(models, TEST_MODEL)
    assert list_models(models) == []
    assert install_bundled(models, source=checkpoint).precisions == (Precision.FP32,)
    assert not (models / f".{TEST_MODEL}.new").exists()


def test_one_writer_a_model_until_it_dies(tmp_path: Path) -> None:
    process = start(HOLD, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(ModelBusy), locked(tmp_path, "small", wait_seconds=0):
        pass
    with locked(tmp_path, "base", wait_seconds=0):
        pass
    process.kill()
    process.communicate(timeout=10)
    with locked(tmp_path, "small", wait_seconds=5):
        pass


def test_a_crash_between_the_renames_leaves_the_old_model(installed: InstalledModel) -> None:
    directory = installed.folder.parent
    installed.folder.rename(directory / f".{TEST_MODEL}.old")
    with locked(directory, TEST_MODEL):
        assert find_model(directory, TEST_MODEL).precisions == (Precision.FP32,)


def test_publishing_replaces_what_had_the_name(tmp_path: Path) -> None:
    for folder, text in (("small", "old"), (".small.new", "new")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "text").write_text(text)
    publish(tmp_path / ".small.new", tmp_path / "small")
    assert [path.name for path in tmp_path.iterdir()] == ["small"]
    assert (tmp_path / "small" / "text").read_text() == "new"


def test_a_model_that_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    for name in ("small", "whisper-small", "openai/whisper-small"):
        with pytest.raises(ModelMissing, match="steno models pull small"):
            find_model(tmp_path, name)
    with pytest.raises(ModelMissing, match="steno models list"):
        find_model(tmp_path, "of-our-own")


def test_a_precision_that_is_not_there_says_how_to_get_it(installed: InstalledModel) -> None:
    assert installed.choose_precision() is Precision.FP32
    with pytest.raises(ModelMissing, match=f"steno models export {TEST_MODEL} --precision int8"):
        installed.choose_precision("int8")
    export_locked(installed.folder, Precision.INT8)
    exported = find_model(installed.folder.parent, TEST_MODEL)
    assert exported.choose_precision("int8") is Precision.INT8
    product = InstalledModel(exported.folder, replace(exported.manifest, test=False))
    assert [product.choose_precision(cuda=cuda) for cuda in (False, True)] == [Precision.INT8, Precision.FP32]


def test_graphs_of_another_version_count_as_absent_until_they_are_exported_again(installed: InstalledModel) -> None:
    write_manifest(installed.folder, replace(installed.manifest, graphs_version=installed.manifest.graphs_version - 1))
    directory = installed.folder.parent
    with pytest.raises(ModelMissing, match="steno models export"):
        find_model(directory, TEST_MODEL).choose_precision()
    export_locked(installed.folder, Precision.FP32)
    assert find_model(directory, TEST_MODEL).precisions == (Precision.FP32,)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 3}'])
def test_a_manifest_that_is_none_is_told(installed: InstalledModel, text: str) -> None:
    (installed.folder / "steno.json").write_text(text)
    with pytest.raises(ModelBroken, match="pull the model again"):
        read_manifest(installed.folder)
    assert list_models(installed.folder.parent) == []


@pytest.mark.parametrize("path", ["../other/config.json", "/etc/hostname", "a/../../b", ".", "", "a\0b"])
@pytest.mark.parametrize("part", ["files", "exports"])
def test_a_manifest_names_nothing_outside_of_its_folder(installed: InstalledModel, part: str, path: str) -> None:
    document = json.loads((installed.folder / "steno.json").read_text())
    document |= {"files": {path: {"size": 1, "sha256": "0"}}} if part == "files" else {"exports": {"int8": {path: "0"}}}
    (installed.folder / "steno.json").write_text(json.dumps(document))
    with pytest.raises(ModelBroken, match="below the folder"):
        read_manifest(installed.folder)


def test_a_model_is_called_what_its_folder_is(installed: InstalledModel) -> None:
    copied = shutil.copytree(installed.folder, installed.folder.with_name("ours"))
    assert find_model(copied.parent, "ours").name == "ours"
    assert [model.name for model in list_models(copied.parent)] == ["ours", TEST_MODEL]


def test_a_link_to_a_model_elsewhere_is_replaced_and_removed_and_leads_to_what_it_led_to(tmp_path: Path) -> None:
    models, elsewhere = tmp_path / "models", tmp_path / "elsewhere"
    models.mkdir()
    elsewhere.mkdir()
    for _ in range(2):
        (models / ".small.new").mkdir()
        (models / "small").symlink_to(elsewhere)
        publish(models / ".small.new", models / "small")
        assert not (models / "small").is_symlink()
        remove(models / "small")
        assert list(models.iterdir()) == []
    (models / "small").symlink_to(elsewhere)
    remove(models / "small")
    assert list(models.iterdir()) == []
    assert elsewhere.is_dir()


def test_references() -> None:
    assert resolve("tiny.en").repository == "openai/whisper-tiny.en"
    assert resolve("Owner/Whisper_Medical").name == "whisper_medical"
    for nonsense in ("", "../x", "a/b/c", "a b", "a/..", "/no/such/folder"):
        with pytest.raises(ModelMissing):
            resolve(nonsense)


def test_a_folder_is_a_reference(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve(str(checkpoint)).path == checkpoint
    monkeypatch.chdir(checkpoint.parent)
    assert resolve("./checkpoint").path == checkpoint
    assert resolve("checkpoint").path is None


def test_languages_are_those_that_the_checkpoint_learned(checkpoint: Path, tmp_path: Path) -> None:
    from services.inference.models.catalogue.checkpoint import read_languages

    assert read_languages(checkpoint) == ("en", "zh", "de", "es")
    shutil.copytree(checkpoint, tmp_path / "english")
    config = json.loads((checkpoint / "generation_config.json").read_text())
    (tmp_path / "english" / "generation_config.json").write_text(json.dumps(config | {"is_multilingual": False}))
    assert read_languages(tmp_path / "english") == ("en",)


def test_finding_models_needs_the_standard_library_only() -> None:
    script = (
        "import sys; before = set(sys.modules)\n"
        "import services.inference.models.catalogue.installed, services.inference.models.catalogue.bundled\n"
        "names = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(names - set(sys.stdlib_module_names) - {'services'}))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert found.stdout.strip() == "[]"
