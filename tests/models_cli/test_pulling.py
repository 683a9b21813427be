"""A model is fetched whole, once, from where it is told, or not at all."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from services.inference.models.catalogue.errors import ModelMissing
from services.inference.models.catalogue.installed import find_model, list_models
from services.inference.models.whisper.precision import Precision
from tests.hub import Hub, Repository, read_folder
from tests.models_cli.conftest import NAME, REPOSITORY, Outcome

WEIGHTS = "model.safetensors"
Run = Callable[..., Outcome]
Spawn = Callable[..., "subprocess.Popen[str]"]


def partials(data: Path) -> Sequence[Path]:
    """What was fetched in part."""
    return [path for path in data.glob("models/.*.pull/*.partial") if path.stat().st_size]


def kill_in_the_middle(spawn: Spawn, hub: Hub, data: Path) -> None:
    """Start a pull, and kill it once some of the weights are there."""
    hub.cuts.append(-200_000)
    with spawn("pull", REPOSITORY, "--no-export") as process:
        assert hub.hanging.wait(60)
        until = time.monotonic() + 20
        while not partials(data):
            assert time.monotonic() < until
            time.sleep(0.01)
        process.kill()
        process.communicate(timeout=10)


def test_a_pulled_model_is_whole_and_runs(models: Run, hub: Hub, data: Path, checkpoint: Path) -> None:
    outcome = models("pull", REPOSITORY)
    assert outcome.status == 0, outcome.err
    assert "exported at int8; licence: mit" in outcome.out
    model = find_model(data / "models", NAME)
    assert (model.manifest.source, model.manifest.revision, model.languages) == (REPOSITORY, "a" * 40, ("en", "zh", "de", "es"))
    assert model.precisions == (Precision.INT8,)
    assert read_folder(checkpoint).items() <= read_folder(model.folder).items()
    verified = models("verify")
    assert (verified.status, verified.out) == (0, f"{NAME}: ok\n")
    assert [path.name for path in (data / "models").iterdir() if path.is_dir()] == [NAME]


def test_only_what_is_needed_is_fetched_and_nothing_is_told(models: Run, hub: Hub) -> None:
    hub.repositories[REPOSITORY].token = "hf_secret"
    assert models("pull", REPOSITORY, "--no-export", HF_TOKEN="hf_secret").status == 0
    assert not hub.fetched("pytorch_model.bin")
    assert not hub.fetched("flax_model.msgpack")
    (weights,) = hub.fetched(WEIGHTS)
    assert weights.authorization == "", "the token is the hub's, not the store's"
    assert {asked.authorization for asked in hub.asked if not asked.path.startswith("/store")} == {"Bearer hf_secret"}
    assert all(asked.user_agent.startswith("steno/") and "torch" not in asked.user_agent for asked in hub.asked)


def test_a_broken_connection_is_taken_up_where_it_ended(models: Run, hub: Hub, data: Path) -> None:
    hub.cuts.extend([100_000, 300_000])
    assert models("pull", REPOSITORY, "--no-export").status == 0
    assert [asked.range for asked in hub.fetched(WEIGHTS)] == ["", "bytes=100000-", "bytes=400000-"]
    assert models("verify").out.count("is not the file") == 0


def test_a_killed_pull_goes_on_where_it_ended(models: Run, spawn: Spawn, hub: Hub, data: Path) -> None:
    kill_in_the_middle(spawn, hub, data)
    with pytest.raises(ModelMissing):
        find_model(data / "models", NAME)
    (partial,) = partials(data)
    there = partial.stat().st_size
    assert there
    assert models("pull", REPOSITORY, "--no-export").status == 0
    assert [asked.range for asked in hub.fetched(WEIGHTS)] == ["", f"bytes={there}-"]
    assert len(hub.fetched("config.json")) == 1, "what is there already is not fetched again"


def test_what_is_half_there_of_another_commit_is_not_gone_on_with(models: Run, spawn: Spawn, hub: Hub, data: Path) -> None:
    kill_in_the_middle(spawn, hub, data)
    hub.repositories[REPOSITORY].commit = "b" * 40
    assert models("pull", REPOSITORY, "--no-export").status == 0
    assert [asked.range for asked in hub.fetched(WEIGHTS)] == ["", ""]
    assert find_model(data / "models", NAME).manifest.revision == "b" * 40
    assert not list((data / "models").glob(".*.pull"))


def test_a_server_without_ranges_is_borne(models: Run, hub: Hub, data: Path) -> None:
    hub.cuts.append(100_000)
    hub.ignore_ranges = True
    assert models("pull", REPOSITORY, "--no-export").status == 0
    assert [asked.range for asked in hub.fetched(WEIGHTS)] == ["", "bytes=100000-"]
    assert "is not the file" not in models("verify").out


def test_a_mirror_that_lists_names_alone_is_asked_for_each_file(models: Run, hub: Hub, data: Path) -> None:
    hub.bare = True
    hub.cuts.append(100_000)
    assert models("pull", REPOSITORY, "--no-export").status == 0
    assert [asked.range for asked in hub.fetched(WEIGHTS)] == ["", "bytes=100000-"]
    hub.spoil.add(WEIGHTS)
    assert "another checksum" in models("pull", REPOSITORY, "--name", "again", "--no-export").err


def test_ctrl_c_says_that_the_same_command_goes_on(spawn: Spawn, hub: Hub) -> None:
    hub.cuts.append(-200_000)
    with spawn("pull", REPOSITORY, "--no-export") as process:
        assert hub.hanging.wait(60)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "goes on from there" in err
    assert "Traceback" not in err


def test_a_busy_store_is_asked_again(models: Run, hub: Hub) -> None:
    hub.busy = 2
    assert models("pull", REPOSITORY, "--no-export").status == 0


def test_a_wrong_checksum_installs_nothing(models: Run, hub: Hub, data: Path) -> None:
    hub.spoil.add(WEIGHTS)
    outcome = models("pull", REPOSITORY, "--no-export")
    assert outcome.status == 1
    assert "model.safetensors arrived twice with another checksum" in outcome.err
    assert list_models(data / "models") == []
    assert not partials(data)
    hub.spoil.clear()
    assert models("pull", REPOSITORY, "--no-export").status == 0


def test_small_files_are_checked_too(models: Run, hub: Hub) -> None:
    hub.spoil.add("config.json")
    outcome = models("pull", REPOSITORY, "--no-export")
    assert outcome.status == 1
    assert "config.json arrived twice with another checksum" in outcome.err


def test_pickles_are_refused_before_anything_is_fetched(models: Run, hub: Hub) -> None:
    del hub.repositories[REPOSITORY].files[WEIGHTS]
    outcome = models("pull", REPOSITORY)
    assert outcome.status == 1
    assert "safetensors only" in outcome.err
    assert not hub.asked


def test_another_kind_of_model_is_refused(models: Run, hub: Hub, data: Path) -> None:
    files = hub.repositories[REPOSITORY].files
    files["config.json"] = json.dumps(json.loads(files["config.json"]) | {"model_type": "wav2vec2"}).encode()
    outcome = models("pull", REPOSITORY)
    assert outcome.status == 1
    assert "no Whisper model" in outcome.err
    assert list_models(data / "models") == []


def sharded(folder: Path, target: Path) -> None:
    """The same model with its weights in two files."""
    tensors: dict[str, Any] = load_file(folder / WEIGHTS)
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    target.mkdir()
    for path in folder.iterdir():
        if path.name != WEIGHTS:
            (target / path.name).write_bytes(path.read_bytes())
    for file, part in parts.items():
        save_file({name: tensors[name] for name in part}, target / file)
    weight_map = {name: file for file, part in parts.items() for name in part}
    (target / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def test_weights_in_several_files_are_one_model(models: Run, hub: Hub, data: Path, checkpoint: Path, tmp_path: Path) -> None:
    sharded(checkpoint, tmp_path / "sharded")
    hub.repositories["someone/sharded"] = Repository(read_folder(tmp_path / "sharded"))
    outcome = models("pull", "someone/sharded", "--precision", "fp32")
    assert outcome.status == 0, outcome.err
    assert models("pull", str(checkpoint), "--precision", "fp32").status == 0
    whole, parts = (find_model(data / "models", name) for name in (NAME, "sharded"))
    assert len(parts.manifest.files) == len(whole.manifest.files) + 2
    exports = [list(model.manifest.exports["fp32"].values()) for model in (whole, parts)]
    assert exports[0] == exports[1]
    assert models("verify").status == 0


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"model.safetensors.index.json": b'{"weight_map": {"a": "model-1.safetensors"}}'}, "lacks model-1.safetensors"),
        ({"model.safetensors.index.json": b'{"weight_map": {"a": "../../secret.safetensors"}}'}, "no safetensors beside it"),
        ({"model.safetensors.index.json": b'{"weight_map": {"a": "pytorch_model.bin"}}'}, "no safetensors beside it"),
        ({}, "no Whisper model in Hugging Face layout"),
    ],
)
def test_weights_that_cannot_be_had_are_refused(models: Run, hub: Hub, files: dict[str, bytes], sentence: str) -> None:
    kept = {name: hub.repositories[REPOSITORY].files[name] for name in ("config.json", "generation_config.json", "tokenizer.json")}
    hub.repositories["someone/odd"] = Repository(kept | files)
    outcome = models("pull", "someone/odd", "--no-export")
    assert outcome.status == 1
    assert sentence in outcome.err


def test_refusals_say_what_to_do(models: Run, hub: Hub) -> None:
    assert "check the name, or set HF_TOKEN" in models("pull", "someone/nothing").err
    assert "has no revision v9" in models("pull", REPOSITORY, "--revision", "v9").err
    hub.repositories[REPOSITORY].gated = True
    gated = models("pull", REPOSITORY)
    assert gated.status == 1
    assert f"accept its terms on {hub.url}/{REPOSITORY}" in gated.err
    assert "Traceback" not in gated.err


def test_without_a_network_the_way_around_is_told(models: Run) -> None:
    outcome = models("pull", REPOSITORY, HF_ENDPOINT="http://127.0.0.1:1")
    assert outcome.status == 1
    assert "cannot be reached" in outcome.err
    assert "--offline-directory" in outcome.err


def test_a_model_too_large_for_the_disk_is_not_begun(models: Run, hub: Hub, data: Path) -> None:
    hub.repositories[REPOSITORY].listed_sizes[WEIGHTS] = 10**15
    outcome = models("pull", REPOSITORY)
    assert outcome.status == 1
    assert "need up to" in outcome.err
    assert not hub.fetched(WEIGHTS)


@pytest.mark.parametrize("size", [10**12, -1])
def test_small_files_are_small(models: Run, hub: Hub, size: int) -> None:
    hub.repositories[REPOSITORY].listed_sizes["tokenizer.json"] = size
    outcome = models("pull", REPOSITORY)
    assert outcome.status == 1
    assert "that is no Whisper model's" in outcome.err
    assert not hub.asked


def test_a_server_that_sends_more_than_it_listed_fills_no_disk(models: Run, hub: Hub, data: Path) -> None:
    hub.repositories[REPOSITORY].listed_sizes[WEIGHTS] = 50_000
    outcome = models("pull", REPOSITORY, "--no-export")
    assert outcome.status == 1
    assert "more than was offered" in outcome.err or "another checksum" in outcome.err
    assert sum(path.stat().st_size for path in data.rglob("*.partial")) <= 50_000


@pytest.mark.parametrize("place", ["file:///etc/hostname", "ftp://127.0.0.1/model"])
def test_a_redirect_leads_to_the_web_or_nowhere(models: Run, hub: Hub, data: Path, place: str) -> None:
    hub.store = place
    outcome = models("pull", REPOSITORY, "--no-export")
    assert outcome.status == 1
    assert "Traceback" not in outcome.err
    assert list_models(data / "models") == []


def test_names_that_the_hub_chooses_are_no_paths(models: Run, hub: Hub, data: Path) -> None:
    repository = hub.repositories[REPOSITORY]
    repository.commit = "x/../../../../up"
    repository.revisions = ("main", repository.commit)
    outcome = models("pull", REPOSITORY, "--no-export")
    assert "Traceback" not in outcome.err
    assert {path.parent.name for path in data.parent.rglob("config.json")} <= {NAME, *(path.name for path in data.glob("models/.*.pull"))}


def test_a_revision_becomes_a_commit_and_a_name_a_name(models: Run, hub: Hub, data: Path) -> None:
    hub.repositories[REPOSITORY].revisions = ("main", "v2")
    assert models("pull", REPOSITORY, "--revision", "v2", "--name", "Ours 2", "--no-export").status == 0
    model = find_model(data / "models", "ours-2")
    assert model.manifest.revision == "a" * 40
    assert model.precisions == ()


def test_a_model_that_is_there_is_only_exported_more(models: Run, hub: Hub, data: Path) -> None:
    assert models("pull", REPOSITORY).status == 0
    outcome = models("pull", REPOSITORY, "--precision", "fp32,int8")
    assert "there already" in outcome.err
    assert find_model(data / "models", NAME).precisions == (Precision.FP32, Precision.INT8)
    assert len(hub.fetched(WEIGHTS)) == 1


def test_one_pull_of_a_model_at_a_time(models: Run, spawn: Spawn, hub: Hub) -> None:
    hub.cuts.append(-200_000)
    with spawn("pull", REPOSITORY, "--no-export") as process:
        assert hub.hanging.wait(60)
        outcome = models("pull", REPOSITORY)
        process.kill()
        process.communicate(timeout=10)
    assert outcome.status == 1
    assert "another process is at work" in outcome.err
