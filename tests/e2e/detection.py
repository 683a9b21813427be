"""A client of the detection calls, as the quickstart of such a product has it, and the recordings that it sends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import httpx2

from services.detection.detections import Detection
from services.detection.metrics import event_based, macro
from tests.e2e.mesh import Mesh, wait_for
from tools.detection.carriers import TEST_VOICES, TRAINING_VOICES
from tools.detection.generate import recordings, write
from tools.detection.recording import ARTIFACT_TYPES, Recording

Row = dict[str, Any]
FILES, SECONDS = 5, 62.0
AT_ONCE = 100
LEAST_RECALL, LEAST_F1 = 0.5, 0.3
# Enough for this data on a small machine within seconds; not what a real dataset wants.
EPOCHS = 4
QUICK: Row = {"artifact_types": list(ARTIFACT_TYPES), "epochs": EPOCHS, "learning_rate": 0.003}


@cache
def learnt() -> Sequence[Recording]:
    """A little more than five minutes of two voices."""
    return recordings(TRAINING_VOICES, FILES, SECONDS, seed=1)


@cache
def unheard() -> Recording:
    """A minute of a voice that is in no dataset."""
    return recordings(TEST_VOICES, 1, 60.0, seed=99)[0]


@dataclass(frozen=True)
class Relay:
    """The calls below a base path, and nothing but them."""

    client: httpx2.Client
    root: str = "/relay/api/v1"

    def get(self, path: str, **query: Any) -> Row:
        """What a GET answers."""
        found: Row = self.client.get(f"{self.root}{path}", params=query).raise_for_status().json()
        return found

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Row:
        """What a POST answers."""
        response = self.client.post(f"{self.root}{path}", json=body)
        assert response.is_success, (path, response.status_code, response.text)
        answer: Row = response.json()
        return answer

    def refused(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> int:
        """The status of a call that is refused."""
        response = self.client.request(method, f"{self.root}{path}", json=body)
        assert not response.is_success, response.text
        return response.status_code

    def upload(self, files: str, name: str, path: Path, content_type: str = "audio/wav") -> str:
        """Announce a file, post it by its form without a key, confirm it. name: of the field with its id."""
        announced = self.post(
            f"{files}/upload-url", {"filename": path.name, "content_type": content_type, "file_size": path.stat().st_size}
        )
        assert announced["expires_in"] == 3600
        with path.open("rb") as content:
            form = httpx2.post(announced["upload_url"], data=announced["fields"], files={"file": (path.name, content)}, timeout=60)
        assert form.status_code == 204, form.text
        file_id: str = announced[name]
        assert self.post(f"{files}/confirm", {name: file_id})[name] == file_id
        return file_id

    def prepared(self, dataset_id: str, audio_id: str, seconds: float = 120.0) -> Row:
        """An audio file once it is ready or failed."""

        def ended() -> Row | None:
            row = self.get(f"/datasets/{dataset_id}/audio/{audio_id}")
            return row if row["processing_status"] in ("ready", "failed") else None

        return wait_for(ended, seconds, f"audio {audio_id} to be prepared", every=0.2)

    def published(self, dataset_id: str, annotations: Sequence[Row]) -> Row:
        """A set of these annotations, written in bulk and frozen."""
        sets = f"/datasets/{dataset_id}/annotation-sets"
        draft = self.post(sets)
        assert draft["status"] == "draft"
        for start in range(0, len(annotations), AT_ONCE):
            part = annotations[start : start + AT_ONCE]
            assert self.post(f"{sets}/{draft['id']}/annotations/bulk", {"annotations": part})["created"] == len(part)
        return self.post(f"{sets}/{draft['id']}/publish")

    def train(self, dataset_id: str, set_id: str, **config: Any) -> str:
        """Order a training; its id."""
        order = {"dataset_id": dataset_id, "annotation_set_id": set_id, "config": {**QUICK, **config}}
        training = self.post("/training-jobs", order)
        assert training["status"] == "pending"
        training_id: str = training["id"]
        return training_id

    def trained(self, training_id: str, seconds: float = 300.0) -> Row:
        """A training once it has ended."""

        def ended() -> Row | None:
            row = self.get(f"/training-jobs/{training_id}")
            return row if row["status"] in ("completed", "failed", "cancelled") else None

        return wait_for(ended, seconds, f"training {training_id} to end", every=0.2)

    def searched(self, model_id: str, *paths: Path, seconds: float = 120.0, **config: Any) -> Row:
        """An order over files once each of them has ended."""
        order = self.post("/inference-jobs", {"model_id": model_id, "config": config})
        assert (order["status"], order["total_files"]) == ("pending", 0)
        for path in paths:
            self.upload(f"/inference-jobs/{order['id']}/files", "file_id", path)

        def ended() -> Row | None:
            row = self.get(f"/inference-jobs/{order['id']}")
            return row if row["status"] in ("completed", "failed", "cancelled") else None

        return wait_for(ended, seconds, f"order {order['id']} to end", every=0.2)


@dataclass
class Story:
    """What the quickstart made: a dataset with published labels, the training on it, its model."""

    mesh: Mesh
    relay: Relay
    dataset: Row
    audio: list[Row] = field(default_factory=list)
    labels: Row = field(default_factory=dict)
    training: Row = field(default_factory=dict)
    model: Row = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The path of its dataset."""
        return f"/datasets/{self.dataset['id']}"


def tell_story(mesh: Mesh, folder: Path, root: str = "/relay/api/v1") -> Story:
    """The quickstart: create, upload, confirm, annotate in bulk, publish, train."""
    relay = Relay(mesh.client, root)
    types = [{"name": name, "color": "#00AA00"} for name in ARTIFACT_TYPES]
    story = Story(mesh, relay, relay.post("/datasets", {"name": f"speech of {folder.name}", "artifact_types": types}))
    write(folder, learnt())
    ids = [relay.upload(f"{story.path}/audio", "audio_id", path) for path in sorted(folder.glob("*.wav"))]
    story.audio = [relay.prepared(story.dataset["id"], one) for one in ids]
    assert {row["processing_status"] for row in story.audio} == {"ready"}, story.audio
    story.labels = relay.published(story.dataset["id"], annotations_of(ids, learnt()))
    story.training = relay.trained(relay.train(story.dataset["id"], story.labels["id"]))
    assert story.training["status"] == "completed", story.training
    story.model = relay.get(f"/models/{story.training['model_id']}")
    return story


def annotations_of(ids: Sequence[str], made: Sequence[Recording]) -> list[Row]:
    """The labels of recordings under the ids of their audio."""
    pairs = [(audio_id, label) for audio_id, one in zip(ids, made, strict=True) for label in one.labels]
    return [
        {"audio_file_id": audio_id, "artifact_type": label.artifact_type, "start_ms": label.start_ms, "end_ms": label.end_ms}
        for audio_id, label in pairs
    ]


def assert_heard(found: Sequence[Row]) -> None:
    """The detections are those of the unheard recording, as far as four epochs carry."""
    events = [Detection(one["artifact_type"], one["start_ms"], one["end_ms"], one["confidence"]) for one in found]
    means = macro(event_based(list(unheard().labels), events, ARTIFACT_TYPES))
    assert means.recall >= LEAST_RECALL, (means, found)
    assert means.f1_score >= LEAST_F1, (means, found)


def unheard_file(folder: Path) -> Path:
    """The unheard recording as a file."""
    write(folder, [unheard()])
    return folder / "recording-000.wav"
