"""What somebody has of datasets, trainings, models and orders: one of each, made through REST."""

import io
import sqlite3
import time
import wave
from collections.abc import Mapping
from contextlib import closing

from faults.doors.tenants import API, SILENCE, Actor, Workspace
from services.mesh.ids import new_id
from tests.e2e.mesh import wait_for

# What a smallest body says where it names a type.
TYPE = "x"
_MIN_AUDIO_SECONDS = 5 * 60
_SAMPLE_RATE_HZ = 8000
_READY_SECONDS = 120

# From the name of a parameter to an id.
Ids = Mapping[str, str]


def everything(workspace: Workspace, actor: Actor) -> Ids:
    """A labelled dataset, a model, and an order with a posted file; the actor has the workspace's own key."""
    model_id = placed_model(workspace)
    order = _post(workspace, actor, "/inference-jobs", {"model_id": model_id})["id"]
    file_id = _posted(workspace, actor, f"/inference-jobs/{order}/files", "file_id", "a.flac", SILENCE.read_bytes(), "audio/flac")
    return {**labelled(workspace, actor), "model_id": model_id, "inference_job_id": order, "file_id": file_id}


def labelled(workspace: Workspace, actor: Actor) -> Ids:
    """A dataset of silence with an annotation in a draft."""
    return _labelled(workspace, actor, "a.flac", SILENCE.read_bytes(), "audio/flac")


def _labelled(workspace: Workspace, actor: Actor, filename: str, content: bytes, content_type: str) -> Ids:
    """A dataset with a confirmed file and an annotation in a draft."""
    dataset = _post(workspace, actor, "/datasets", {"name": TYPE, "artifact_types": [{"name": TYPE}]})["id"]
    place = f"/datasets/{dataset}"
    audio = _posted(workspace, actor, f"{place}/audio", "audio_id", filename, content, content_type)
    _post(workspace, actor, f"{place}/audio/confirm", {"audio_id": audio})
    draft = _post(workspace, actor, f"{place}/annotation-sets")["id"]
    label = {"audio_file_id": audio, "artifact_type": TYPE, "start_ms": 0, "end_ms": 1}
    annotation = _post(workspace, actor, f"{place}/annotation-sets/{draft}/annotations", label)["id"]
    ids = {"dataset_id": dataset, "audio_id": audio, "audio_file_id": audio}
    return {**ids, "annotation_set_id": draft, "annotation_id": annotation}


def confirm_file(workspace: Workspace, actor: Actor, ids: Ids) -> None:
    """Queue the posted file of an order: it can be read from then on."""
    order = f"{API}/inference-jobs/{ids['inference_job_id']}"
    workspace.ask(actor, "POST", f"{order}/files/confirm", json={"file_id": ids["file_id"]}).raise_for_status()


def trainable(workspace: Workspace, actor: Actor) -> Ids:
    """A published dataset with as much audio as a training needs."""
    ids = _labelled(workspace, actor, "a.wav", _long_silence(), "audio/wav")
    place = f"{API}/datasets/{ids['dataset_id']}"

    def ready() -> bool:
        row = workspace.ask(actor, "GET", f"{place}/audio/{ids['audio_id']}").raise_for_status().json()
        return bool(row["processing_status"] == "ready")

    wait_for(ready, _READY_SECONDS, "audio to be ready", every=0.5)
    workspace.ask(actor, "POST", f"{place}/annotation-sets/{ids['annotation_set_id']}/publish").raise_for_status()
    return ids


def training(workspace: Workspace, actor: Actor, dataset: Ids) -> str:
    """An order to train on a published dataset."""
    order = {name: dataset[name] for name in ("dataset_id", "annotation_set_id")}
    return _post(workspace, actor, "/training-jobs", {**order, "config": {"artifact_types": [TYPE]}})["id"]


def end_training(workspace: Workspace, actor: Actor, training_job_id: str) -> None:
    """Cancel it: nobody here waits for what it learns."""
    workspace.ask(actor, "POST", f"{API}/training-jobs/{training_job_id}/cancel").raise_for_status()


def placed_model(workspace: Workspace) -> str:
    """A model's row as a training leaves it, for a training takes longer than a campaign."""
    model_id = new_id()
    row = (model_id, workspace.id, "workspace", TYPE, "", f"{TYPE}\0".encode(), new_id(), b"", True, new_id(), time.time_ns() // 1000)
    with closing(sqlite3.connect(workspace.mesh.data / "databases" / "jobs.db", timeout=30)) as database, database:
        database.execute(
            "INSERT INTO detector (id, workspace_id, owner, name, description, artifact_types, training_job_id, eval_metrics, is_active,"
            " artefact_id, create_time) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )
    return model_id


def _post(workspace: Workspace, actor: Actor, path: str, body: object = None) -> dict[str, str]:
    content = {} if body is None else {"json": body}
    made: dict[str, str] = workspace.ask(actor, "POST", API + path, **content).raise_for_status().json()
    return made


def _posted(workspace: Workspace, actor: Actor, place: str, name: str, filename: str, content: bytes, content_type: str) -> str:
    """The id of an announced file whose bytes were posted by its form."""
    announced = {"filename": filename, "content_type": content_type, "file_size": len(content)}
    form = workspace.ask(actor, "POST", f"{API}{place}/upload-url", json=announced).raise_for_status().json()
    workspace.client.post(form["upload_url"], data=form["fields"], files={"file": (filename, content, content_type)}).raise_for_status()
    return str(form[name])


def _long_silence() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(_SAMPLE_RATE_HZ)
        audio.writeframes(bytes(2 * _SAMPLE_RATE_HZ * _MIN_AUDIO_SECONDS))
    return file.getvalue()
