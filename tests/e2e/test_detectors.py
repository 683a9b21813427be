"""From labelled recordings to detections, through REST: the quickstart of such a product, and what must not go wrong."""

import json
import math
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.detection import (
    EPOCHS,
    FILES,
    QUICK,
    SECONDS,
    Relay,
    Story,
    annotations_of,
    assert_heard,
    learnt,
    tell_story,
    unheard_file,
)
from tests.e2e.ledger import read_ledger
from tests.e2e.mesh import SAMPLES, STENO, Mesh, wait_for
from tests.e2e.workspaces import new_workspace
from tools.detection.generate import write
from tools.detection.recording import ARTIFACT_TYPES

HELLO = SAMPLES / "clips" / "hello.flac"
RATE_PERCENT = 25
NO_AUDIO = b"These are words, and no sound.\n" * 400

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Mesh], Story]:
    """The quickstart on each mesh, told once. On the second it is told at the native contract's paths."""
    told: dict[str, Story] = {}

    def tell(mesh: Mesh) -> Story:
        key = str(mesh.folder)
        if key not in told:
            told[key] = tell_story(mesh, tmp_path_factory.mktemp("calls"), "/api/v1" if told else "/relay/api/v1")
        return told[key]

    return tell


@pytest.fixture
def story(mesh: Mesh, stories: Callable[[Mesh], Story]) -> Story:
    """The quickstart on each mesh."""
    return stories(mesh)


@pytest.fixture
def embedded_story(embedded: Mesh, stories: Callable[[Mesh], Story]) -> Story:
    """The quickstart on SQLite and a directory."""
    return stories(embedded)


@pytest.fixture
def no_audio(tmp_path: Path) -> Path:
    """A text that calls itself a recording."""
    path = tmp_path / "words.wav"
    path.write_bytes(NO_AUDIO)
    return path


def test_labels_are_frozen_with_their_statistics(story: Story) -> None:
    labels = [label for made in learnt() for label in made.labels]
    counts = {name: sum(label.artifact_type == name for label in labels) for name in ARTIFACT_TYPES}
    assert (story.labels["status"], story.labels["version"], story.labels["total_annotations"]) == ("published", 1, len(labels))
    assert story.labels["annotations_by_type"] == counts
    assert [row["duration_ms"] for row in story.audio] == [round(SECONDS * 1000)] * FILES
    annotation = {"audio_file_id": story.audio[0]["id"], "artifact_type": "click", "start_ms": 0, "end_ms": 10}
    assert story.relay.refused("POST", f"{story.path}/annotation-sets/{story.labels['id']}/annotations", annotation) == 400


def test_training_tells_each_epoch_and_makes_a_model_with_figures(story: Story) -> None:
    assert [row["epoch"] for row in story.training["metrics"]] == list(range(1, EPOCHS + 1))
    assert story.training["metrics"][-1]["training_loss"] < story.training["metrics"][0]["training_loss"]
    assert story.training["progress"] == 1
    assert (story.model["training_job_id"], story.model["is_active"]) == (story.training["id"], True)
    assert sorted(story.model["eval_metrics"]["per_class"]) == sorted(ARTIFACT_TYPES)
    assert all(scores["support"] > 0 for scores in story.model["eval_metrics"]["per_class"].values())


def test_model_finds_in_a_new_voice_what_was_put_there_and_it_costs_its_share(story: Story, tmp_path: Path) -> None:
    order = story.relay.searched(story.model["id"], unheard_file(tmp_path))
    (file,) = order["files"]
    assert (order["status"], order["processed_files"], order["failed_files"]) == ("completed", 1, 0)
    assert order["total_detections"] == file["detection_count"] == len(file["detections"]) > 0
    assert [one["start_ms"] for one in file["detections"]] == sorted(one["start_ms"] for one in file["detections"])
    assert_heard(file["detections"])
    wait_for(lambda: not read_ledger(story.mesh).open_holds, 20, "the hold to be settled")
    ledger = read_ledger(story.mesh)
    assert ledger.charged_ms[file["id"]] == math.ceil(file["duration_ms"] * RATE_PERCENT / 100)
    assert ledger.settlements[file["id"]] == 1
    assert story.training["id"] not in ledger.charged_ms
    assert (ledger.imbalance_ms, ledger.wrong_accounts) == (0, 0)


def test_file_that_is_no_audio_fails_alone(story: Story, no_audio: Path, tmp_path: Path) -> None:
    order = story.relay.searched(story.model["id"], no_audio, unheard_file(tmp_path))
    refused, searched = order["files"]
    assert (refused["status"], searched["status"]) == ("failed", "completed")
    assert refused["error_message"]
    assert (order["status"], order["processed_files"], order["failed_files"]) == ("completed", 1, 1)
    assert read_ledger(story.mesh).charged_ms.get(refused["id"], 0) == 0


def test_audio_that_is_none_fails_alone_and_keeps_a_dataset_from_training(embedded_story: Story, no_audio: Path) -> None:
    relay, path = embedded_story.relay, embedded_story.path
    audio_id = relay.upload(f"{path}/audio", "audio_id", no_audio)
    row = relay.prepared(embedded_story.dataset["id"], audio_id)
    assert (row["processing_status"], bool(row["error_message"])) == ("failed", True)
    states = {one["processing_status"] for one in relay.get(f"{path}/audio", page_size=100)["items"] if one["id"] != audio_id}
    assert states == {"ready"}
    order = {"dataset_id": embedded_story.dataset["id"], "annotation_set_id": embedded_story.labels["id"], "config": QUICK}
    assert relay.refused("POST", "/training-jobs", order) == 400
    assert relay.client.delete(f"{relay.root}{path}/audio/{audio_id}").status_code == 204


def test_other_workspaces_learn_nothing(embedded_story: Story) -> None:
    story = embedded_story
    with story.mesh.client_for(new_workspace(story.mesh, "neighbours")) as client:
        other = Relay(client)
        order = {"dataset_id": story.dataset["id"], "annotation_set_id": story.labels["id"], "config": QUICK}
        for path in (
            story.path,
            f"{story.path}/audio/{story.audio[0]['id']}",
            f"{story.path}/annotation-sets/{story.labels['id']}",
            f"/training-jobs/{story.training['id']}",
            f"/models/{story.model['id']}",
        ):
            assert other.refused("GET", path) == 404, path
        assert other.refused("POST", "/training-jobs", order) == 404
        assert other.refused("POST", "/inference-jobs", {"model_id": story.model["id"]}) == 404
        assert [other.get(path)["total"] for path in ("/datasets", "/models", "/training-jobs", "/inference-jobs")] == [0, 0, 0, 0]


def test_audio_of_a_transcription_joins_a_dataset_and_outlives_it(embedded: Mesh) -> None:
    relay = Relay(embedded.client)
    job_id = embedded.submitted(HELLO)
    assert embedded.finished(job_id)["status"] == "done"
    dataset = relay.post("/datasets", {"name": "from jobs", "artifact_types": [{"name": "click"}]})
    copied = relay.post(f"/datasets/{dataset['id']}/audio/from-job", {"job_id": job_id})
    assert embedded.client.delete(f"/api/v1/jobs/{job_id}").status_code == 204
    row = relay.prepared(dataset["id"], copied["id"])
    assert (row["processing_status"], row["original_filename"]) == ("ready", HELLO.name)
    url = relay.get(f"/datasets/{dataset['id']}/audio/{copied['id']}/download-url")["download_url"]
    with embedded.client_for("") as anyone:
        assert anyone.get(url).content == HELLO.read_bytes()


def trainer_pid(mesh: Mesh) -> int | None:
    """The process that trains, if there is one now."""
    for process in psutil.Process(mesh.process.pid).children(recursive=True):
        try:
            if "services.inference.training" in process.cmdline():
                return process.pid
        except psutil.Error:
            continue
    return None


def test_killed_training_ends_completed_with_one_model(embedded_story: Story) -> None:
    """Once the process that trains is killed, once the whole service; each in the middle of an epoch."""
    story, relay = embedded_story, embedded_story.relay
    epochs = 3
    training_id = relay.train(story.dataset["id"], story.labels["id"], epochs=epochs)

    def finished_epochs(count: int) -> Callable[[], bool]:
        return lambda: len(relay.get(f"/training-jobs/{training_id}")["metrics"]) >= count

    wait_for(finished_epochs(1), 120, "the first epoch")
    os.kill(wait_for(lambda: trainer_pid(story.mesh), 20, "the trainer"), 9)
    wait_for(finished_epochs(2), 120, "an epoch after the first death")
    orphan = wait_for(lambda: trainer_pid(story.mesh), 20, "the trainer")
    assert story.mesh.kill("inference") is not None
    wait_for(lambda: not psutil.pid_exists(orphan), 20, "the trainer to go with its service")
    training = relay.trained(training_id)
    assert training["status"] == "completed", training
    assert [row["epoch"] for row in training["metrics"]] == list(range(1, epochs + 1))
    made = [model["id"] for model in relay.get("/models", page_size=100)["items"] if model["training_job_id"] == training_id]
    assert made == [training["model_id"]]
    wait_for(story.mesh.is_ready, 60, "the mesh to be whole again")


def test_cancelled_training_stops_within_seconds(embedded_story: Story) -> None:
    story, relay = embedded_story, embedded_story.relay
    training_id = relay.train(story.dataset["id"], story.labels["id"], epochs=100)
    wait_for(lambda: trainer_pid(story.mesh), 120, "the trainer")
    assert relay.post(f"/training-jobs/{training_id}/cancel")["status"] == "cancelled"
    wait_for(lambda: trainer_pid(story.mesh) is None, 20, "the trainer to stop")
    assert relay.get(f"/training-jobs/{training_id}")["model_id"] is None


def steno(mesh: Mesh, *arguments: Any) -> subprocess.CompletedProcess[str]:
    """`steno datasets` against the mesh."""
    environment = {**os.environ, "STENO_URL": mesh.ready["url"], "STENO_API_KEY": mesh.ready["api_key"]}
    command = [str(STENO), "datasets", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


def test_command_line_imports_a_folder_and_detects(embedded_story: Story, tmp_path: Path) -> None:
    mesh, folder = embedded_story.mesh, tmp_path / "imported"
    write(folder, learnt()[:2])
    first, again = (steno(mesh, "import", folder, "--json") for _ in range(2))
    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    told = json.loads(first.stdout)
    assert json.loads(again.stdout) == told
    kept = embedded_story.relay.get(f"/datasets/{told['dataset']}/annotation-sets/{told['annotation_set']}")["annotations"]
    audio = embedded_story.relay.get(f"/datasets/{told['dataset']}/audio")["items"]
    ids = [row["id"] for row in sorted(audio, key=lambda row: row["original_filename"])]
    names = ("audio_file_id", "artifact_type", "start_ms", "end_ms")
    wanted = annotations_of(ids, learnt()[:2])
    assert sorted(tuple(one[name] for name in names) for one in kept) == sorted(tuple(one[name] for name in names) for one in wanted)
    short = steno(mesh, "train", "imported")
    assert (short.returncode, "TOO_LITTLE_AUDIO" in short.stderr) == (1, True)
    found = steno(mesh, "detect", embedded_story.model["id"], unheard_file(tmp_path), "--audacity", tmp_path / "found")
    assert found.returncode == 0, found.stderr
    lines = [line.split("\t") for line in (tmp_path / "found" / "recording-000.txt").read_text().splitlines()]
    rows = [
        {"artifact_type": name, "start_ms": round(float(start) * 1000), "end_ms": round(float(end) * 1000), "confidence": 1}
        for start, end, name in lines
    ]
    assert_heard(rows)
