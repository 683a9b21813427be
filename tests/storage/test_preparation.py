"""Preparing audio for training: by whom, how often, and what is left of it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from sqlalchemy import update

from services.detection.features import FEATURE_COUNT, VERSION, frame_count
from services.mesh.ids import new_id
from services.storage import workers
from services.storage.datasets import MAX_ATTEMPTS, AudioState, preparation_delay
from services.storage.domain import AnnotationSetNotFound
from services.storage.store import preparations
from services.storage.store.dataset_tables import AUDIO, DatasetAudio
from services.storage.usecases import deletion
from services.storage.usecases.datasets import files, preparing, sets, training
from services.storage.usecases.datasets.preparing import Preparer
from services.storage.usecases.datasets.program import ProgramFailed, run_program
from tests.storage.conftest import Storehouse
from tests.storage.labelled import ADA, annotate, dataset, draft, label, uploaded
from tests.storage.torn import until

pytestmark = pytest.mark.asyncio(loop_scope="session")
LEASE = timedelta(seconds=60)
# Stands where the real program stands, and is as quick as a test needs.
WRITE = "import sys, pathlib; pathlib.Path(sys.argv[2]).write_bytes(b'features of ' + str(len(open(sys.argv[1], 'rb').read())).encode())"
FAIL = "import sys; print('first', file=sys.stderr); sys.exit('out of luck')"


def program(source: str) -> tuple[str, ...]:
    """A program that is called as the real one is."""
    return (sys.executable, "-c", source)


@pytest.fixture
def preparer(tmp_path: Path) -> Preparer:
    """One whose program only tells how long the samples are."""
    (tmp_path / "preparing").mkdir()
    return Preparer(tmp_path / "preparing", VERSION, program(WRITE))


@pytest_asyncio.fixture(loop_scope="session")
async def waiting(row_storehouse: Storehouse) -> AsyncIterator[DatasetAudio]:
    """An audio file that waits for its preparation."""
    yield await uploaded(row_storehouse, await dataset(row_storehouse))


async def now(house: Storehouse, audio: DatasetAudio) -> DatasetAudio:
    """The file as it is now."""
    return await files.get_audio(house.depot, ADA, audio.dataset_id, audio.id)


async def change(house: Storehouse, audio: DatasetAudio, **values: object) -> None:
    """Set columns by hand, as time and crashes would."""
    async with house.depot.database.transaction() as session:
        await (await session.connection()).execute(update(AUDIO).where(AUDIO.c.id == audio.id).values(**values))


async def test_audio_becomes_features_by_the_real_program(disk_storehouse: Storehouse, preparer: Preparer, tmp_path: Path) -> None:
    house = disk_storehouse
    dataset_id = await dataset(house)
    audio = await uploaded(house, dataset_id)
    set_id = await draft(house, dataset_id)
    await annotate(house, dataset_id, set_id, label(audio.id, 20, audio.duration_ms), label(audio.id, 0, 10))
    files_of = partial(training.list_training_files, house.depot, ADA, dataset_id, set_id)
    with pytest.raises(AnnotationSetNotFound):
        await anext(files_of())
    await sets.publish_set(house.depot, ADA, dataset_id, set_id)
    assert [file async for file in files_of()] == []
    assert await preparing.prepare_next(house.depot, replace(preparer, command=preparing.PREPARE))
    assert not await preparing.prepare_next(house.depot, preparer)
    [file] = [file async for file in files_of()]
    assert (file.audio.state, file.audio.features_version) == (AudioState.READY, VERSION)
    assert [(row.start_ms, row.end_ms) for row in file.annotations] == [(0, 10), (20, audio.duration_ms)]
    (tmp_path / "features.npy").write_bytes((await house.http.get(file.features.url)).content)
    features = np.load(tmp_path / "features.npy")
    assert (features.dtype, features.shape) == (np.float16, (frame_count(audio.duration_ms * 16), FEATURE_COUNT))
    assert float(features.astype(np.float32).std()) > 0
    described = await training.describe_training_set(house.depot, ADA, dataset_id, set_id)
    stock = described.stock
    assert (stock.file_count, stock.ready_file_count, stock.ready_duration_ms) == (1, 1, audio.duration_ms)
    assert list(preparer.folder.iterdir()) == []


async def test_each_file_is_prepared_once_however_many_look(row_storehouse: Storehouse, preparer: Preparer) -> None:
    house = row_storehouse
    dataset_id = await dataset(house)
    waiting = [await uploaded(house, dataset_id) for _ in range(3)]
    taken = await asyncio.gather(*(preparing.prepare_next(house.depot, preparer) for _ in range(5)))
    assert sorted(taken) == [False, False, True, True, True]
    done = [await now(house, audio) for audio in waiting]
    assert [(audio.state, audio.attempts) for audio in done] == [(AudioState.READY, 1)] * 3
    assert len({audio.features_id for audio in done}) == 3
    assert len(await house.blob_keys()) == 6


async def test_a_failed_attempt_is_made_again_later_and_not_for_ever(
    row_storehouse: Storehouse, waiting: DatasetAudio, preparer: Preparer
) -> None:
    house, failing = row_storehouse, replace(preparer, command=program(FAIL))
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert await preparing.prepare_next(house.depot, failing)
        assert not await preparing.prepare_next(house.depot, failing)
        assert (await now(house, waiting)).attempts == attempt
        await change(house, waiting, next_time=waiting.create_time)
    given_up = await now(house, waiting)
    assert (given_up.state, given_up.error_message) == (AudioState.FAILED, "The file could not be prepared; delete it and send it again.")
    assert not await preparing.prepare_next(house.depot, preparer)
    assert list(preparer.folder.iterdir()) == []


async def test_the_wait_between_attempts_grows_and_is_bounded() -> None:
    waits = [preparation_delay(attempts) for attempts in range(1, 12)]
    assert waits[:3] == [timedelta(seconds=5), timedelta(seconds=10), timedelta(seconds=20)]
    assert waits[-1] == timedelta(minutes=10)


async def test_a_failure_leaves_the_file_waiting_for_a_while(row_storehouse: Storehouse, waiting: DatasetAudio, preparer: Preparer) -> None:
    house = row_storehouse
    assert await preparing.prepare_next(house.depot, replace(preparer, command=program(FAIL)))
    put_back = await now(house, waiting)
    assert timedelta(seconds=2) < put_back.next_time - waiting.create_time
    assert (put_back.lease_id, put_back.state in (AudioState.NORMALIZING, AudioState.EMBEDDING)) == (None, True)
    await change(house, waiting, next_time=waiting.create_time)
    assert await preparing.prepare_next(house.depot, preparer)
    assert (await now(house, waiting)).state == AudioState.READY


async def claim(house: Storehouse, lease: timedelta = LEASE) -> DatasetAudio | None:
    """A claim of somebody who then does nothing."""
    async with house.depot.database.transaction() as session:
        return await preparations.claim_audio(session, new_id(), lease)


async def test_who_dies_loses_the_file_to_another(row_storehouse: Storehouse, waiting: DatasetAudio, preparer: Preparer) -> None:
    house = row_storehouse
    dead = await claim(house)
    assert dead is not None
    assert await claim(house) is None
    await change(house, waiting, lease_time=waiting.create_time)
    assert await preparing.prepare_next(house.depot, preparer)
    done = await now(house, waiting)
    assert (done.state, done.attempts) == (AudioState.READY, 2)
    async with house.depot.database.transaction() as session:
        assert not await preparations.renew_lease(session, dead, LEASE)
        assert not await preparations.end_preparation(session, dead, {"state": AudioState.FAILED})
    assert (await now(house, waiting)).state == AudioState.READY


async def test_a_file_that_kills_its_process_is_given_up(row_storehouse: Storehouse, waiting: DatasetAudio, preparer: Preparer) -> None:
    house = row_storehouse
    await change(house, waiting, attempts=MAX_ATTEMPTS, lease_id=new_id(), lease_time=waiting.create_time)
    assert not await preparing.prepare_next(house.depot, preparer)
    await preparing.refresh(house.depot, preparer)
    assert (await now(house, waiting)).state == AudioState.FAILED


WAITING = "import sys, pathlib, time; pathlib.Path({flag!r}).touch(); time.sleep(60)"


async def started(preparer: Preparer, run: Callable[[Preparer], "asyncio.Task[bool]"]) -> "asyncio.Task[bool]":
    """A preparation whose program runs, and does not end by itself."""
    flag = preparer.folder.parent / "started"
    task = run(replace(preparer, command=program(WAITING.format(flag=str(flag)))))

    async def is_running() -> bool:
        assert not task.done(), task.result()
        return flag.exists()

    await until(is_running, 30)
    return task


async def test_a_stopped_preparation_is_given_back_at_once(row_storehouse: Storehouse, waiting: DatasetAudio, preparer: Preparer) -> None:
    house = row_storehouse
    task = await started(preparer, lambda slow: asyncio.create_task(preparing.prepare_next(house.depot, slow)))
    assert (await now(house, waiting)).state == AudioState.EMBEDDING
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    back = await now(house, waiting)
    assert (back.lease_id, back.attempts) == (None, 0)
    assert list(preparer.folder.iterdir()) == []
    assert await preparing.prepare_next(house.depot, preparer)
    assert (await now(house, waiting)).state == AudioState.READY


async def test_a_file_deleted_meanwhile_leaves_nothing(row_storehouse: Storehouse, waiting: DatasetAudio, preparer: Preparer) -> None:
    house, brief = row_storehouse, replace(preparer, lease=timedelta(seconds=1))
    task = await started(brief, lambda slow: asyncio.create_task(preparing.prepare_next(house.depot, slow)))
    await files.delete_audio(house.depot, ADA, waiting.dataset_id, waiting.id)
    async with asyncio.timeout(20):
        assert await task
    await deletion.reap(house.depot)
    assert await house.blob_keys() == set()


async def test_features_of_an_older_version_are_made_again(row_storehouse: Storehouse, waiting: DatasetAudio, preparer: Preparer) -> None:
    house = row_storehouse
    assert await preparing.prepare_next(house.depot, preparer)
    await preparing.refresh(house.depot, preparer)
    assert not await preparing.prepare_next(house.depot, preparer)
    first = await now(house, waiting)
    newer = replace(preparer, version=VERSION + 1)
    await preparing.refresh(house.depot, newer)
    assert await preparing.prepare_next(house.depot, newer)
    second = await now(house, waiting)
    assert (second.state, second.features_version) == (AudioState.READY, VERSION + 1)
    assert second.features_id != first.features_id
    await deletion.reap(house.depot)
    assert len(await house.blob_keys()) == 2
    await preparing.refresh(house.depot, preparer)
    assert not await preparing.prepare_next(house.depot, preparer)


async def test_deleting_prepared_audio_takes_its_features_along(
    row_storehouse: Storehouse, waiting: DatasetAudio, preparer: Preparer
) -> None:
    house = row_storehouse
    assert await preparing.prepare_next(house.depot, preparer)
    assert len(await house.blob_keys()) == 2
    await files.delete_audio(house.depot, ADA, waiting.dataset_id, waiting.id)
    await deletion.reap(house.depot)
    assert await house.blob_keys() == set()


async def test_the_worker_prepares_when_woken_and_ends_when_told(disk_storehouse: Storehouse, preparer: Preparer) -> None:
    house = disk_storehouse
    work, stopping = asyncio.Event(), asyncio.Event()
    house.depot = replace(house.depot, wake_preparer=work.set)
    (preparer.folder / "prepare-old").mkdir()
    os.utime(preparer.folder / "prepare-old", (0, 0))
    loop = asyncio.create_task(workers.run_preparer(house.depot, preparer, work, 3600.0, stopping))
    dataset_id = await dataset(house)
    first, second = [await uploaded(house, dataset_id) for _ in range(2)]

    async def both_are_ready() -> bool:
        return {(await now(house, audio)).state for audio in (first, second)} == {AudioState.READY}

    await until(both_are_ready, 30)
    assert list(preparer.folder.iterdir()) == []
    third = await uploaded(house, dataset_id)
    await until(lambda: is_prepared(house, third), 30)
    stopping.set()
    async with asyncio.timeout(10):
        await loop


async def is_prepared(house: Storehouse, audio: DatasetAudio) -> bool:
    """Whether it is ready by now."""
    return (await now(house, audio)).state == AudioState.READY


async def test_a_program_tells_its_last_words_and_knows_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STENO_SECRET", "x")
    with pytest.raises(ProgramFailed, match="status 1: out of luck"):
        await run_program(program(FAIL), 30)
    with pytest.raises(ProgramFailed, match="not done"):
        await run_program(program("import time; time.sleep(60)"), 0.2)
    with pytest.raises(ProgramFailed, match="status 3"):
        await run_program(program("import os, sys; sys.exit(3 if 'STENO_SECRET' not in os.environ else 0)"), 30)
