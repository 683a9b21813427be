"""Sites without a network get models from folders that somebody filled elsewhere."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from services.inference.models.catalogue.installed import find_model
from services.inference.models.whisper.precision import Precision
from tests.hub import Hub
from tests.models_cli.conftest import NAME, REPOSITORY, Outcome

Run = Callable[..., Outcome]
COMMIT = "c" * 40


def fill_cache(cache: Path, checkpoint: Path) -> None:
    """As the hub's own library keeps what it fetched: links to blobs."""
    repository = cache / f"models--{REPOSITORY.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    (repository / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    for path in checkpoint.iterdir():
        shutil.copy(path, repository / "blobs" / path.name)
        (repository / "blobs" / path.name).chmod(0o444)
        (snapshot / path.name).symlink_to(Path("../../blobs") / path.name)


def test_a_folder_is_copied(models: Run, data: Path, checkpoint: Path) -> None:
    outcome = models("pull", str(checkpoint), "--name", "copied")
    assert outcome.status == 0, outcome.err
    model = find_model(data / "models", "copied")
    assert (model.manifest.source, model.manifest.licence, model.precisions) == (str(checkpoint), "mit", (Precision.INT8,))
    assert models("verify", "copied").status == 0


@pytest.mark.parametrize("place", ["", "hub", REPOSITORY, NAME])
def test_an_offline_directory_has_any_of_the_usual_layouts(
    place: str, models: Run, hub: Hub, data: Path, checkpoint: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "carried"
    if place in ("", "hub"):
        fill_cache(directory / place, checkpoint)
    else:
        shutil.copytree(checkpoint, directory / place)
    outcome = models("pull", REPOSITORY, "--no-export", "--offline-directory", str(directory))
    assert outcome.status == 0, outcome.err
    manifest = find_model(data / "models", NAME).manifest
    assert (manifest.source, manifest.revision) == (REPOSITORY, COMMIT if place in ("", "hub") else "")
    assert not (data / "models" / NAME / "config.json").is_symlink()
    assert not hub.asked


def test_an_offline_directory_without_the_model_says_where_it_looked(models: Run, tmp_path: Path) -> None:
    outcome = models("pull", "small", "--offline-directory", str(tmp_path))
    assert outcome.status == 1
    assert "openai/whisper-small is not in" in outcome.err


def test_the_library_told_to_stay_offline_uses_its_cache(models: Run, hub: Hub, data: Path, checkpoint: Path, tmp_path: Path) -> None:
    refused = models("pull", REPOSITORY, HF_HUB_OFFLINE="1")
    assert refused.status == 1
    assert "HF_HUB_OFFLINE is set" in refused.err
    fill_cache(tmp_path / "hf" / "hub", checkpoint)
    assert models("pull", REPOSITORY, "--no-export", HF_HUB_OFFLINE="1").status == 0
    assert find_model(data / "models", NAME).manifest.revision == COMMIT
    assert not hub.asked


def test_a_model_carried_over_keeps_where_it_came_from_and_its_exports(models: Run, hub: Hub, data: Path, tmp_path: Path) -> None:
    assert models("pull", REPOSITORY).status == 0
    shutil.move(data / "models" / NAME, tmp_path / "stick")
    outcome = models("pull", str(tmp_path / "stick"), "--name", NAME)
    assert outcome.status == 0, outcome.err
    assert "exporting" not in outcome.err
    model = find_model(data / "models", NAME)
    assert (model.manifest.source, model.manifest.revision, model.manifest.licence) == (REPOSITORY, "a" * 40, "mit")
    assert model.precisions == (Precision.INT8,)
    assert models("verify").status == 0


@pytest.mark.parametrize("file", ["model.safetensors", "onnx/int8/decoder.onnx"])
def test_a_model_damaged_on_its_way_is_refused(file: str, models: Run, data: Path, prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared, tmp_path / "stick")
    content = bytearray((tmp_path / "stick" / file).read_bytes())
    content[-1] ^= 1
    (tmp_path / "stick" / file).write_bytes(content)
    outcome = models("pull", str(tmp_path / "stick"))
    assert outcome.status == 1
    assert "copy the folder anew" in outcome.err
    assert not (data / "models" / "stick").exists()


def carried(prepared: Path, folder: Path, **changes: object) -> Path:
    """An installed model that somebody carried over, with another manifest."""
    shutil.copytree(prepared, folder)
    document = json.loads((folder / "steno.json").read_text())
    (folder / "steno.json").write_text(json.dumps(document | changes))
    return folder


@pytest.mark.parametrize("path", ["../victim/config.json", "onnx/fp32/model.onnx", "config.json"])
def test_a_carried_manifest_writes_no_other_file(path: str, models: Run, installed: Path, prepared: Path, tmp_path: Path) -> None:
    victim = installed.rename(installed.with_name("victim"))
    before = (victim / "config.json").read_bytes()
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "config.json").write_text("evil")
    outcome = models("pull", str(carried(prepared, tmp_path / "stick", exports={"int8": {path: "0" * 64}})))
    assert outcome.status == 1
    assert "Traceback" not in outcome.err
    assert (victim / "config.json").read_bytes() == before
    assert not (victim.parent / "stick").exists()


def test_a_carried_manifest_chooses_no_folder(models: Run, data: Path, prepared: Path, tmp_path: Path) -> None:
    stick = carried(prepared, tmp_path / "stick", revision="x/../../../up", name="../up", exports={})
    outcome = models("pull", str(stick), "--no-export")
    assert outcome.status == 0, outcome.err
    assert [path.name for path in (data / "models").iterdir() if path.is_dir()] == ["stick"]


def test_a_folder_has_no_revisions(models: Run, checkpoint: Path) -> None:
    outcome = models("pull", str(checkpoint), "--revision", "v2")
    assert outcome.status == 1
    assert "has no revision v2" in outcome.err


def test_who_may_read_a_copied_model_is_decided_here(models: Run, data: Path, checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoint, tmp_path / "stick")
    for path in (tmp_path / "stick").iterdir():
        path.chmod(0o777)
    assert models("pull", str(tmp_path / "stick"), "--no-export").status == 0
    assert not any(path.stat().st_mode & 0o133 for path in (data / "models" / "stick").iterdir())
