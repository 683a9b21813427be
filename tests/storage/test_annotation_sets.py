"""Annotation sets: what may be labelled, and what publishing fixes for ever."""

import asyncio
import random
from typing import Any

import pytest
from sqlalchemy import Executable, insert, update
from sqlalchemy.exc import DBAPIError

from services.mesh.errors import InvalidField, MeshError
from services.mesh.ids import new_id
from services.mesh.server import MAX_MESSAGE_BYTES
from services.storage.datasets import MAX_OFFSET_MS, Label, Place, SetState, check_label
from services.storage.domain import (
    AnnotationNotFound,
    AnnotationSetEmpty,
    AnnotationSetNotFound,
    AnnotationSetPublished,
    AudioInUse,
    AudioNotFound,
    UnknownArtifactType,
)
from services.storage.rpc.dataset_messages import annotation_proto
from services.storage.store.dataset_tables import ANNOTATION, SET
from services.storage.usecases.datasets import annotating, files, sets
from services.storage.usecases.datasets.annotating import Spot
from steno.storage.v1.datasets_service_pb2 import ListAnnotationsResponse
from tests.storage.conftest import Storehouse
from tests.storage.labelled import ADA, CLICK, HUM, annotate, announced, dataset, draft, label, uploaded

pytestmark = pytest.mark.asyncio(loop_scope="session")
EVERYTHING = Place(0, 100)


async def listed(house: Storehouse, dataset_id: str, set_id: str) -> list[tuple[int, int]]:
    """Spans of a set's annotations, as they are listed."""
    batches = annotating.list_annotations(house.depot, ADA, dataset_id, set_id)
    return [(row.start_ms, row.end_ms) async for rows in batches for row in rows]


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"start_ms": -1}, InvalidField),
        ({"start_ms": MAX_OFFSET_MS, "end_ms": MAX_OFFSET_MS + 1}, InvalidField),
        ({"end_ms": 5}, InvalidField),
        ({"end_ms": 4}, InvalidField),
        ({"end_ms": 1001}, InvalidField),
        ({"confidence": -0.01}, InvalidField),
        ({"confidence": 1.01}, InvalidField),
        ({"confidence": float("nan")}, InvalidField),
        ({"extra_data": {"text": "x" * 5000}}, InvalidField),
        ({"extra_data": {"text": "\0"}}, InvalidField),
        ({"extra_data": {"number": float("inf")}}, InvalidField),
        ({"artifact_type": "Click"}, UnknownArtifactType),
    ],
    ids=str,
)
async def test_a_label_out_of_its_ranges_is_refused(changes: dict[str, Any], refusal: type[MeshError]) -> None:
    sound: dict[str, Any] = {"audio_id": "a", "start_ms": 5, "end_ms": 1000, "artifact_type": CLICK, "confidence": 0.5, "extra_data": {}}
    check_label(Label(**sound), [CLICK], 1000)
    with pytest.raises(refusal):
        check_label(Label(**{**sound, **changes}), [CLICK], 1000)


async def test_statistics_count_types_and_the_union_of_each_file(shared_storehouse: Storehouse) -> None:
    house = shared_storehouse
    dataset_id = await dataset(house)
    one, two = [(await announced(house, dataset_id))[0].id for _ in range(2)]
    set_id = await draft(house, dataset_id)
    first = [label(one, 0, 100), label(one, 50, 150, HUM), label(one, 60, 70), label(one, 150, 160), label(one, 300, 310, HUM)]
    await annotate(house, dataset_id, set_id, *first, label(two, 0, 100), label(two, 0, 100))
    _, found = await sets.get_set(house.depot, ADA, dataset_id, set_id)
    assert (found.total_annotations, found.total_positive_duration_ms, dict(found.annotations_by_type)) == (7, 270, {CLICK: 5, HUM: 2})


async def test_the_union_agrees_with_a_count_of_milliseconds(shared_storehouse: Storehouse) -> None:
    house, chance = shared_storehouse, random.Random(7)
    dataset_id = await dataset(house)
    audio_ids = [(await announced(house, dataset_id))[0].id for _ in range(3)]
    set_id = await draft(house, dataset_id)
    spans = [(chance.choice(audio_ids), start, start + chance.randint(1, 60)) for start in (chance.randint(0, 2000) for _ in range(200))]
    await annotate(house, dataset_id, set_id, *(label(*span, chance.choice((CLICK, HUM))) for span in spans))
    covered = {(audio_id, moment) for audio_id, start, end in spans for moment in range(start, end)}
    _, found = await sets.get_set(house.depot, ADA, dataset_id, set_id)
    assert found.total_positive_duration_ms == len(covered)


async def test_a_published_set_never_changes(shared_storehouse: Storehouse) -> None:
    house = shared_storehouse
    dataset_id = await dataset(house)
    audio, _ = await announced(house, dataset_id)
    set_id = await draft(house, dataset_id)
    with pytest.raises(AnnotationSetEmpty):
        await sets.publish_set(house.depot, ADA, dataset_id, set_id)
    [annotation_id] = await annotate(house, dataset_id, set_id, label(audio.id, 5, 25))
    published, _ = await sets.publish_set(house.depot, ADA, dataset_id, set_id)
    assert published.publish_time is not None
    spot = Spot(dataset_id, set_id, annotation_id)
    for attempt in (
        annotate(house, dataset_id, set_id, label(audio.id)),
        annotating.update_annotation(house.depot, ADA, spot, label(audio.id), ["end_offset_ms"]),
        annotating.delete_annotation(house.depot, ADA, spot),
        sets.publish_set(house.depot, ADA, dataset_id, set_id),
        sets.delete_set(house.depot, ADA, dataset_id, set_id),
    ):
        with pytest.raises(AnnotationSetPublished):
            await attempt
    with pytest.raises(AudioInUse):
        await files.delete_audio(house.depot, ADA, dataset_id, audio.id)
    again, statistics = await sets.get_set(house.depot, ADA, dataset_id, set_id)
    assert (again.state, statistics.total_annotations, statistics.total_positive_duration_ms) == (SetState.PUBLISHED, 1, 20)
    assert await listed(house, dataset_id, set_id) == [(5, 25)]


async def test_the_database_itself_keeps_published_sets(shared_storehouse: Storehouse) -> None:
    house = shared_storehouse
    dataset_id = await dataset(house)
    audio, _ = await announced(house, dataset_id)
    set_id = await draft(house, dataset_id)
    await annotate(house, dataset_id, set_id, label(audio.id))
    await sets.publish_set(house.depot, ADA, dataset_id, set_id)
    row = {"id": new_id(), "workspace_id": ADA.workspace_id, "dataset_id": dataset_id, "annotation_set_id": set_id, "audio_id": audio.id}
    forced: list[Executable] = [
        update(SET).where(SET.c.id == set_id).values(state=SetState.DRAFT),
        update(SET).where(SET.c.id == set_id).values(total_annotations=5),
        update(ANNOTATION).where(ANNOTATION.c.annotation_set_id == set_id).values(end_ms=11),
        insert(ANNOTATION).values(**row, artifact_type=CLICK, start_ms=0, end_ms=1, confidence=1.0, extra_data={}),
    ]
    for statement in forced:
        with pytest.raises(DBAPIError):
            async with house.depot.database.transaction() as session:
                await (await session.connection()).execute(statement)


async def test_no_annotation_lands_after_the_publication_that_races_it(shared_storehouse: Storehouse) -> None:
    house = shared_storehouse
    dataset_id = await dataset(house)
    audio, _ = await announced(house, dataset_id)
    for _ in range(4):
        set_id = await draft(house, dataset_id)
        await annotate(house, dataset_id, set_id, label(audio.id))
        adding = [annotate(house, dataset_id, set_id, label(audio.id), label(audio.id)) for _ in range(6)]
        ends = await asyncio.gather(
            *adding[:3], sets.publish_set(house.depot, ADA, dataset_id, set_id), *adding[3:], return_exceptions=True
        )
        refused = [end for end in ends if isinstance(end, BaseException)]
        assert all(isinstance(end, AnnotationSetPublished) for end in refused)
        _, fixed = await sets.get_set(house.depot, ADA, dataset_id, set_id)
        assert len(await listed(house, dataset_id, set_id)) == fixed.total_annotations == 1 + 2 * (6 - len(refused))


async def test_only_one_of_two_publications_wins(shared_storehouse: Storehouse) -> None:
    house = shared_storehouse
    dataset_id = await dataset(house)
    set_id = await draft(house, dataset_id)
    await annotate(house, dataset_id, set_id, label((await announced(house, dataset_id))[0].id))
    ends = await asyncio.gather(*(sets.publish_set(house.depot, ADA, dataset_id, set_id) for _ in range(5)), return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["AnnotationSetPublished"] * 4 + ["tuple"]


async def test_versions_have_neither_gaps_nor_duplicates(shared_storehouse: Storehouse) -> None:
    house = shared_storehouse
    dataset_id = await dataset(house)
    made = await asyncio.gather(*(sets.create_set(house.depot, ADA, dataset_id) for _ in range(12)))
    assert sorted(row.version for row, _ in made) == list(range(1, 13))
    last = max(made, key=lambda row: row[0].version)[0]
    await sets.delete_set(house.depot, ADA, dataset_id, last.id)
    with pytest.raises(AnnotationSetNotFound):
        await sets.get_set(house.depot, ADA, dataset_id, last.id)
    assert (await sets.create_set(house.depot, ADA, dataset_id))[0].version == 13
    rows, total = await sets.list_sets(house.depot, ADA, dataset_id, Place(1, 3))
    assert (total, [row.version for row, _ in rows]) == (12, [11, 10, 9])


async def test_a_bulk_is_added_whole_or_not_at_all(shared_storehouse: Storehouse) -> None:
    house = shared_storehouse
    dataset_id, foreign_id = await dataset(house), await dataset(house)
    audio, stranger = (await announced(house, dataset_id))[0], (await announced(house, foreign_id))[0]
    set_id = await draft(house, dataset_id)
    good = [label(audio.id, start, start + 1) for start in range(999)]
    for bad, refusal in (
        (label(stranger.id), AudioNotFound),
        (label(audio.id, artifact_type="whistle"), UnknownArtifactType),
        (label(audio.id, 7, 7), InvalidField),
    ):
        with pytest.raises(refusal):
            await annotate(house, dataset_id, set_id, *good, bad)
    for count in ([], [*good, good[0], good[0]]):
        with pytest.raises(InvalidField):
            await annotate(house, dataset_id, set_id, *count)
    assert await listed(house, dataset_id, set_id) == []
    assert len(await annotate(house, dataset_id, set_id, *good, good[0])) == 1000
    assert await listed(house, dataset_id, set_id) == sorted([(start, start + 1) for start in range(999)] + [(0, 1)])


async def test_an_annotation_changes_within_the_same_rules(shared_storehouse: Storehouse) -> None:
    house = shared_storehouse
    dataset_id = await dataset(house)
    audio = await uploaded(house, dataset_id)
    set_id = await draft(house, dataset_id)
    [annotation_id] = await annotate(house, dataset_id, set_id, label(audio.id, 10, 20, extra_data={"note": [1, {"a": None}]}))
    spot = Spot(dataset_id, set_id, annotation_id)
    wanted = label(audio.id, 15, audio.duration_ms, HUM, confidence=0.25)
    changed = await annotating.update_annotation(house.depot, ADA, spot, wanted, ["end_offset_ms", "confidence", "artifact_type"])
    assert (changed.start_ms, changed.end_ms, changed.artifact_type, changed.confidence) == (10, audio.duration_ms, HUM, 0.25)
    assert changed.extra_data == {"note": [1, {"a": None}]}
    for bad, paths in (
        (label(audio.id, 0, audio.duration_ms + 1), ["end_offset_ms"]),
        (label(audio.id, audio.duration_ms, 5), ["start_offset_ms"]),
        (wanted, []),
        (wanted, ["annotation_set_id"]),
    ):
        with pytest.raises(InvalidField):
            await annotating.update_annotation(house.depot, ADA, spot, bad, paths)
    with pytest.raises(AudioNotFound):
        await annotating.update_annotation(house.depot, ADA, spot, label(new_id()), ["audio_file_id"])
    assert await listed(house, dataset_id, set_id) == [(10, audio.duration_ms)]
    await annotating.delete_annotation(house.depot, ADA, spot)
    with pytest.raises(AnnotationNotFound):
        await annotating.delete_annotation(house.depot, ADA, spot)


async def test_annotations_of_a_set_come_in_order_of_file_and_time(disk_storehouse: Storehouse) -> None:
    house = disk_storehouse
    dataset_id = await dataset(house)
    audio_ids = sorted([(await announced(house, dataset_id))[0].id for _ in range(2)])
    set_id = await draft(house, dataset_id)
    for first in (700, 0):
        await annotate(
            house, dataset_id, set_id, *(label(audio_id, first + n, first + n + 1) for n in range(300) for audio_id in audio_ids)
        )
    batches = [rows async for rows in annotating.list_annotations(house.depot, ADA, dataset_id, set_id)]
    assert [len(rows) for rows in batches] == [500, 500, 200]
    places = [(row.audio_id, row.start_ms) for rows in batches for row in rows]
    assert places == sorted(places)
    assert len(set(places)) == 1200


async def test_large_extra_data_is_told_in_messages_that_fit(disk_storehouse: Storehouse) -> None:
    house = disk_storehouse
    dataset_id = await dataset(house)
    audio, _ = await announced(house, dataset_id)
    set_id = await draft(house, dataset_id)
    numbers = {"n": [1] * 1300}
    large = [label(audio.id, start, start + 1, extra_data=numbers) for start in range(125)]
    for _ in range(3):
        await annotate(house, dataset_id, set_id, *large)
    with pytest.raises(InvalidField):
        await annotate(house, dataset_id, set_id, *large, *large)
    batches = [rows async for rows in annotating.list_annotations(house.depot, ADA, dataset_id, set_id)]
    sizes = [ListAnnotationsResponse(annotations=map(annotation_proto, rows)).ByteSize() for rows in batches]
    assert sum(map(len, batches)) == 375
    assert max(sizes) < MAX_MESSAGE_BYTES < sum(sizes)
