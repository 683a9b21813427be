"""Datasets and their audio: whose they are, what may be in them, what becomes of it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from services.media.sandbox import Sandbox
from services.mesh.errors import InvalidField, MeshError, NotFound
from services.mesh.ids import new_id
from services.storage.blobs.post_policy import Credentials
from services.storage.blobs.s3 import S3Blobs
from services.storage.datasets import AudioState, Owner, Place, check_announcement, check_artifact_types, check_name, read_place
from services.storage.domain import (
    ArtifactTypeInUse,
    AudioNotFound,
    DatasetNotFound,
    MediaNotFound,
    MediaTooLarge,
    UnsupportedMedia,
    UploadIncomplete,
)
from services.storage.store import objects
from services.storage.store.tables import Media
from services.storage.usecases import deletion, listing, posting, reading, upkeep, uploads
from services.storage.usecases.datasets import annotating, catalogue, files, sets, training
from services.storage.usecases.datasets.annotating import Spot
from services.storage.usecases.datasets.catalogue import Change
from tests.storage.conftest import STRANGER, WORKSPACE, Bucket, Storehouse, open_storehouse
from tests.storage.labelled import ADA, CLICK, GRACE, HUM, SOUND, annotate, announced, dataset, draft, kind, label, post, uploaded

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.asyncio(loop_scope="session")
EVERYTHING = Place(0, 100)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    "types",
    [
        [kind("")],
        [kind("  ")],
        [kind("x" * 101)],
        [kind("click\0")],
        [kind("click", color="red")],
        [kind("click", color="#12345")],
        [kind("click", color="#GGGGGG")],
        [kind("click", description="x" * 2001)],
        [kind("click"), kind("click")],
        [kind(str(number)) for number in range(51)],
    ],
    ids=str,
)
async def test_artifact_types_out_of_their_ranges_are_refused(types: list[dict[str, str]]) -> None:
    with pytest.raises(InvalidField):
        check_artifact_types(types)


async def test_artifact_types_in_their_ranges_are_taken_and_red_by_default() -> None:
    assert check_artifact_types([kind("x" * 100), kind("y", color="#00ffAA")]) == [
        {"name": "x" * 100, "description": "", "color": "#FF0000"},
        {"name": "y", "description": "", "color": "#00ffAA"},
    ]
    assert len(check_artifact_types([kind(str(number)) for number in range(50)])) == 50


@pytest.mark.parametrize("name", ["", " ", "x" * 256, "a\nb", "a\0"])
async def test_a_name_out_of_its_range_is_refused(name: str) -> None:
    assert check_name("x" * 255)
    with pytest.raises(InvalidField):
        check_name(name)


async def test_pages_are_counted_from_one_and_bounded() -> None:
    assert (read_place(0, 0), read_place(3, 100)) == (Place(0, 20), Place(200, 100))
    for page, size in ((-1, 0), (1, 101), (1, -1)):
        with pytest.raises(InvalidField):
            read_place(page, size)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"filename": ""}, InvalidField),
        ({"content_type": "text/plain"}, UnsupportedMedia),
        ({"content_type": "audio"}, InvalidField),
        ({"content_type": "audio/midi"}, UnsupportedMedia),
        ({"size_bytes": 0}, InvalidField),
        ({"size_bytes": 500 * 1024 * 1024 + 1}, MediaTooLarge),
    ],
    ids=str,
)
async def test_audio_that_cannot_be_is_refused_before_it_comes(changes: dict[str, Any], refusal: type[MeshError]) -> None:
    announcement: dict[str, Any] = {"filename": "a.ogg", "content_type": "audio/ogg; codecs=opus", "size_bytes": 500 * 1024 * 1024}
    check_announcement(**announcement)
    with pytest.raises(refusal):
        check_announcement(**{**announcement, **changes})


async def test_datasets_are_listed_newest_first_with_what_they_hold(shared_storehouse: Storehouse) -> None:
    house, owner = shared_storehouse, Owner(WORKSPACE, f"user:{new_id()}")
    ids = [await dataset(house, owner=owner) for _ in range(5)]
    rows, total = await catalogue.list_datasets(house.depot, owner, Place(1, 3))
    assert (total, [row.dataset.id for row in rows]) == (5, ids[3:0:-1])
    full = await dataset(house)
    for _ in range(2):
        await announced(house, full)
    await draft(house, full)
    found = await catalogue.get_dataset(house.depot, ADA, full)
    assert (found.audio_count, found.annotation_set_count) == (2, 1)


async def test_a_dataset_changes_where_its_mask_says(shared_storehouse: Storehouse) -> None:
    house = shared_storehouse
    dataset_id = await dataset(house)
    change = catalogue.change_of(["name"], "new", "ignored", [])
    changed = (await catalogue.update_dataset(house.depot, ADA, dataset_id, change)).dataset
    assert (changed.name, changed.description, [given["name"] for given in changed.artifact_types]) == ("new", "", [CLICK, HUM])
    assert changed.change_time > changed.create_time
    for paths in ([], ["id"], ["name", "owner"]):
        with pytest.raises(InvalidField):
            catalogue.change_of(paths, "new", "", [])


async def test_a_type_that_annotations_use_stays(shared_storehouse: Storehouse) -> None:
    house = shared_storehouse
    dataset_id = await dataset(house)
    audio, _ = await announced(house, dataset_id)
    await annotate(house, dataset_id, await draft(house, dataset_id), label(audio.id))
    with pytest.raises(ArtifactTypeInUse):
        await catalogue.update_dataset(house.depot, ADA, dataset_id, Change(artifact_types=[kind(HUM)]))
    kept = await catalogue.update_dataset(house.depot, ADA, dataset_id, Change(artifact_types=[kind(CLICK, color="#000000"), kind("new")]))
    assert [given["color"] for given in kept.dataset.artifact_types] == ["#000000", "#FF0000"]


async def test_what_is_anothers_is_not_there(shared_storehouse: Storehouse) -> None:
    house = shared_storehouse
    dataset_id = await dataset(house)
    audio = await uploaded(house, dataset_id)
    set_id = await draft(house, dataset_id)
    [annotation_id] = await annotate(house, dataset_id, set_id, label(audio.id))
    media = await house.ready()
    inside = Inside(dataset_id, audio.id, set_id, annotation_id, media.id)
    for owner in (GRACE, Owner(STRANGER, "user:ada"), Owner(WORKSPACE, "workspace")):
        for attempt in (*of_a_dataset(house, owner, inside), *of_its_contents(house, owner, inside)):
            with pytest.raises(DatasetNotFound):
                await attempt()
    for other_id in (new_id(), await dataset(house)):
        for attempt in of_its_contents(house, ADA, replace(inside, dataset_id=other_id)):
            with pytest.raises(NotFound):
                await attempt()
    assert (await catalogue.get_dataset(house.depot, ADA, dataset_id)).audio_count == 1


@dataclass(frozen=True)
class Inside:
    """Ids of a dataset and of what is in it, and of media to import."""

    dataset_id: str
    audio_id: str
    set_id: str
    annotation_id: str
    media_id: str


def of_a_dataset(house: Storehouse, owner: Owner, inside: Inside) -> list[Callable[[], Awaitable[object]]]:
    """What can be asked of an empty dataset."""
    depot, dataset_id = house.depot, inside.dataset_id
    return [
        lambda: catalogue.get_dataset(depot, owner, dataset_id),
        lambda: catalogue.update_dataset(depot, owner, dataset_id, Change(name="mine")),
        lambda: files.begin_audio(depot, owner, dataset_id, "a.flac", "audio/flac", 5),
        lambda: files.list_audio(depot, owner, dataset_id, EVERYTHING),
        lambda: files.import_audio(depot, owner, dataset_id, inside.media_id),
        lambda: sets.create_set(depot, owner, dataset_id),
        lambda: sets.list_sets(depot, owner, dataset_id, EVERYTHING),
        lambda: catalogue.delete_dataset(depot, owner, dataset_id),
    ]


def of_its_contents(house: Storehouse, owner: Owner, inside: Inside) -> list[Callable[[], Awaitable[object]]]:
    """What can be asked of a dataset's audio, set and annotation."""
    depot, audio, labels = house.depot, (inside.dataset_id, inside.audio_id), (inside.dataset_id, inside.set_id)
    spot, given = Spot(*labels, inside.annotation_id), label(inside.audio_id)
    return [
        lambda: files.confirm_audio(depot, owner, *audio),
        lambda: files.get_audio(depot, owner, *audio),
        lambda: files.sign_audio_url(depot, owner, *audio, None),
        lambda: files.delete_audio(depot, owner, *audio),
        lambda: sets.get_set(depot, owner, *labels),
        lambda: sets.publish_set(depot, owner, *labels),
        lambda: sets.delete_set(depot, owner, *labels),
        lambda: annotating.create_annotations(depot, owner, *labels, [given]),
        lambda: annotating.update_annotation(depot, owner, spot, given, ["confidence"]),
        lambda: annotating.delete_annotation(depot, owner, spot),
        lambda: anext(annotating.list_annotations(depot, owner, *labels)),
        lambda: training.describe_training_set(depot, owner, *labels),
        lambda: anext(training.list_training_files(depot, owner, *labels)),
    ]


async def test_uploaded_audio_is_taken_in_once_and_prepared(shared_storehouse: Storehouse) -> None:
    house = shared_storehouse
    dataset_id = await dataset(house)
    audio, form = await announced(house, dataset_id, filename="../x/hello.flac")
    assert (audio.state, audio.original_filename) == (AudioState.PENDING, "hello.flac")
    for attempt in (
        files.confirm_audio(house.depot, ADA, dataset_id, audio.id),
        files.sign_audio_url(house.depot, ADA, dataset_id, audio.id, None),
    ):
        with pytest.raises(UploadIncomplete):
            await attempt
    assert (await post(house, form, SOUND[:-1])).status_code == 400
    assert (await post(house, form, SOUND + b"x")).status_code == 413
    assert (await post(house, form)).status_code == 204
    house.woken.clear()
    confirmed = await asyncio.gather(*(files.confirm_audio(house.depot, ADA, dataset_id, audio.id) for _ in range(3)))
    assert {row.state for row in confirmed} == {AudioState.NORMALIZING}
    assert confirmed[0].duration_ms > 0
    assert house.woken == ["preparer"]
    assert (await post(house, form)).status_code == 404
    address = await files.sign_audio_url(house.depot, ADA, dataset_id, audio.id, None)
    assert (await house.http.get(address.url)).content == SOUND


async def test_a_file_that_is_no_audio_fails_alone(shared_storehouse: Storehouse) -> None:
    house = shared_storehouse
    dataset_id = await dataset(house)
    refused = await uploaded(house, dataset_id, b"These bytes are no audio." * 100)
    assert (refused.state, refused.error_message) == (AudioState.FAILED, "The file is not audio or video that Steno reads.")
    again = await files.confirm_audio(house.depot, ADA, dataset_id, refused.id)
    assert again.state == AudioState.FAILED
    with pytest.raises(UploadIncomplete):
        await files.sign_audio_url(house.depot, ADA, dataset_id, refused.id, None)
    good = await uploaded(house, dataset_id)
    assert good.state == AudioState.NORMALIZING
    found, _ = await files.list_audio(house.depot, ADA, dataset_id, EVERYTHING)
    assert [row.id for row in found] == [good.id, refused.id]
    assert await objects.find(house.depot.database, Media, refused.media_id) is None


async def test_media_of_datasets_is_reached_through_them_only(shared_storehouse: Storehouse) -> None:
    house = shared_storehouse
    audio = await uploaded(house, await dataset(house))
    waiting, _ = await announced(house, audio.dataset_id)
    depot, media_id = house.depot, audio.media_id
    for attempt in (
        reading.get_media(depot, WORKSPACE, media_id),
        reading.sign_media_url(depot, WORKSPACE, media_id, None),
        uploads.commit_upload(depot, WORKSPACE, media_id, 0),
        uploads.sign_upload(depot, WORKSPACE, waiting.media_id, 0),
        posting.sign_upload_form(depot, WORKSPACE, waiting.media_id, "", 0, 0),
        files.import_audio(depot, ADA, await dataset(house), media_id),
    ):
        with pytest.raises(MediaNotFound):
            await attempt
    await deletion.delete_media(depot, WORKSPACE, media_id)
    page = await listing.list_media(depot, datetime.now(UTC) - 10 * MINUTE, datetime.now(UTC) + MINUTE, 1000, "")
    assert not {media_id, waiting.media_id} & {media.id for media in page.media}
    assert (await house.http.get((await files.sign_audio_url(depot, ADA, audio.dataset_id, audio.id, None)).url)).content == SOUND


async def test_imported_audio_has_a_life_of_its_own(shared_storehouse: Storehouse) -> None:
    house = shared_storehouse
    media, dataset_id = await house.ready(), await dataset(house)
    copies = await asyncio.gather(*(files.import_audio(house.depot, ADA, dataset_id, media.id) for _ in range(3)))
    assert {copy.id for copy in copies} == {copies[0].id}
    assert (copies[0].state, copies[0].duration_ms, copies[0].size_bytes) == (AudioState.NORMALIZING, media.duration_ms, len(SOUND))
    await deletion.delete_media(house.depot, WORKSPACE, media.id)
    await deletion.reap(house.depot)
    assert (await files.import_audio(house.depot, ADA, dataset_id, media.id)).id == copies[0].id
    address = await files.sign_audio_url(house.depot, ADA, dataset_id, copies[0].id, None)
    assert (await house.http.get(address.url)).content == SOUND
    waiting, _ = await house.begin()
    for other in (media.id, waiting.id, new_id()):
        with pytest.raises(MediaNotFound):
            await files.import_audio(house.depot, ADA, await dataset(house), other)
    stranger, foreign = Owner(STRANGER, "workspace"), await house.ready()
    strange_id = await dataset(house, owner=stranger)
    with pytest.raises(MediaNotFound):
        await files.import_audio(house.depot, stranger, strange_id, foreign.id)


async def test_deleted_audio_takes_its_labels_in_drafts_and_its_bytes_along(row_storehouse: Storehouse) -> None:
    house = row_storehouse
    dataset_id = await dataset(house)
    gone, kept = [await uploaded(house, dataset_id) for _ in range(2)]
    set_id = await draft(house, dataset_id)
    await annotate(house, dataset_id, set_id, label(gone.id), label(kept.id), label(gone.id))
    await files.delete_audio(house.depot, ADA, dataset_id, gone.id)
    _, statistics = await sets.get_set(house.depot, ADA, dataset_id, set_id)
    assert statistics.total_annotations == 1
    with pytest.raises(AudioNotFound):
        await files.delete_audio(house.depot, ADA, dataset_id, gone.id)
    await deletion.reap(house.depot)
    assert len(await house.blob_keys()) == 1
    await sets.publish_set(house.depot, ADA, dataset_id, set_id)
    await announced(house, dataset_id)
    await catalogue.delete_dataset(house.depot, ADA, dataset_id)
    with pytest.raises(DatasetNotFound):
        await catalogue.delete_dataset(house.depot, ADA, dataset_id)
    await deletion.reap(house.depot)
    assert await house.blob_keys() == set()


async def test_announced_audio_that_never_comes_vanishes_unless_it_is_published(row_storehouse: Storehouse) -> None:
    house = row_storehouse
    dataset_id = await dataset(house)
    lost, published = [(await announced(house, dataset_id))[0] for _ in range(2)]
    confirmed = await uploaded(house, dataset_id)
    set_id = await draft(house, dataset_id)
    await annotate(house, dataset_id, set_id, label(published.id))
    await sets.publish_set(house.depot, ADA, dataset_id, set_id)
    other = await draft(house, dataset_id)
    await annotate(house, dataset_id, other, label(lost.id))
    assert await upkeep.drop_unfinished_audio(house.depot) == 0
    assert await upkeep.expire_uploads(house.depot, timedelta(0)) == 2
    assert await upkeep.drop_unfinished_audio(house.depot) == 2
    rows, total = await files.list_audio(house.depot, ADA, dataset_id, EVERYTHING)
    assert (total, {row.id: row.state for row in rows}) == (2, {confirmed.id: AudioState.NORMALIZING, published.id: AudioState.FAILED})
    assert (await sets.get_set(house.depot, ADA, dataset_id, other))[1].total_annotations == 0
    assert (await sets.get_set(house.depot, ADA, dataset_id, set_id))[1].total_annotations == 1


async def test_audio_posted_to_the_bucket_has_the_announced_length(
    sqlite_url: str, bucket: Bucket, tmp_path: Path, sandbox: Sandbox
) -> None:
    async with open_storehouse(sqlite_url, S3Blobs(bucket.location(), tmp_path, True, Credentials("key", "secret")), sandbox) as house:
        dataset_id = await dataset(house)
        audio, form = await announced(house, dataset_id)
        for wrong in (SOUND[:-1], SOUND + b"x"):
            # The test's bucket checks no policy, as some of those out there.
            assert (await post(house, form, wrong)).status_code == 204
            with pytest.raises(UploadIncomplete):
                await files.confirm_audio(house.depot, ADA, dataset_id, audio.id)
        assert (await post(house, form)).status_code == 204
        confirmed = await files.confirm_audio(house.depot, ADA, dataset_id, audio.id)
        assert confirmed.state == AudioState.NORMALIZING
        imported = await files.import_audio(house.depot, ADA, dataset_id, (await house.ready()).id)
        address = await files.sign_audio_url(house.depot, ADA, dataset_id, imported.id, None)
        assert (await house.http.get(address.url)).content == SOUND
