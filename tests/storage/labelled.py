"""Datasets to test with: made, filled and labelled as clients would."""

from typing import Any

import httpx2

from services.storage.blobs.blobs import Form
from services.storage.datasets import Label, Owner
from services.storage.store.dataset_tables import DatasetAudio
from services.storage.usecases.datasets import annotating, catalogue, files, sets
from tests.storage.conftest import SAMPLE, WORKSPACE, Storehouse

ADA, GRACE = Owner(WORKSPACE, "user:ada"), Owner(WORKSPACE, "user:grace")
CLICK, HUM = "click", "hum"
SOUND = SAMPLE.read_bytes()


def kind(name: str, **fields: str) -> dict[str, str]:
    """An artifact type."""
    return {"name": name, "description": "", "color": "", **fields}


async def dataset(house: Storehouse, *names: str, owner: Owner = ADA) -> str:
    """The id of a new dataset; of clicks and hum, unless other types are named."""
    made = await catalogue.create_dataset(house.depot, owner, "calls", "", [kind(name) for name in names or (CLICK, HUM)])
    return made.dataset.id


async def announced(house: Storehouse, dataset_id: str, content: bytes = SOUND, **announcement: Any) -> tuple[DatasetAudio, Form]:
    """An audio file whose bytes have yet to come, and the form for them."""
    facts = {"filename": "hello.flac", "content_type": "audio/flac", "size_bytes": len(content), **announcement}
    return await files.begin_audio(house.depot, ADA, dataset_id, **facts)


async def post(house: Storehouse, form: Form, content: bytes = SOUND, **changed: str | None) -> httpx2.Response:
    """Post the form. changed: fields by name with underscores for dashes; None leaves one out."""
    changes = {name.replace("_", "-"): value for name, value in changed.items()}
    fields = {name: value for name, value in {**form.fields, **changes}.items() if value is not None}
    return await house.http.post(form.url, data=fields, files={"file": ("x", content)})


async def uploaded(house: Storehouse, dataset_id: str, content: bytes = SOUND) -> DatasetAudio:
    """An audio file that was confirmed."""
    audio, form = await announced(house, dataset_id, content)
    assert (await post(house, form, content)).status_code == 204
    return await files.confirm_audio(house.depot, ADA, dataset_id, audio.id)


async def draft(house: Storehouse, dataset_id: str) -> str:
    """The id of a new draft."""
    return (await sets.create_set(house.depot, ADA, dataset_id))[0].id


def label(audio_id: str, start_ms: int = 0, end_ms: int = 10, artifact_type: str = CLICK, **fields: Any) -> Label:
    """An annotation to add."""
    return Label(audio_id, artifact_type, start_ms, end_ms, **{"confidence": 1.0, "extra_data": {}, **fields})


async def annotate(house: Storehouse, dataset_id: str, set_id: str, *labels: Label) -> list[str]:
    """Ids of annotations that were added."""
    return [row.id for row in await annotating.create_annotations(house.depot, ADA, dataset_id, set_id, labels)]
