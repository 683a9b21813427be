"""Listing ready media of every workspace."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from services.mesh.errors import InvalidField, InvalidPageToken
from services.mesh.ids import new_id
from services.storage.domain import State
from services.storage.store import objects
from services.storage.store.tables import Media
from services.storage.usecases import deletion
from services.storage.usecases.listing import list_media
from tests.storage.conftest import STRANGER, WORKSPACE, Storehouse

pytestmark = pytest.mark.asyncio(loop_scope="session")

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


async def stored(house: Storehouse, *minutes: int, state: State = State.READY, workspace_id: str = WORKSPACE) -> list[str]:
    """Ids of media announced so many minutes after BEGIN."""
    rows = [
        Media(
            id=new_id(),
            workspace_id=workspace_id,
            state=state,
            object_key=new_id().replace("-", ""),
            sha256="0",
            filename="f",
            create_time=BEGIN + number * MINUTE,
            change_time=BEGIN,
        )
        for number in minutes
    ]
    ids = [row.id for row in rows]

    async def unit(session: AsyncSession) -> None:
        for row in rows:
            await objects.add(session, row)

    await house.depot.database.grouped(unit)
    return ids


async def walked(house: Storehouse, begin: datetime, before: datetime, size: int) -> list[list[str]]:
    """The ids on every page."""
    pages, token = [], ""
    while True:
        page = await list_media(house.depot, begin, before, size, token)
        pages.append([media.id for media in page.media])
        if not (token := page.next_page_token):
            return pages


async def test_ready_media_of_a_span_come_oldest_first_each_once(row_storehouse: Storehouse) -> None:
    early, *inside, late = await stored(row_storehouse, 9, 10, 12, 12, 12, 19, 20)
    foreign = await stored(row_storehouse, 11, workspace_id=STRANGER)
    await stored(row_storehouse, 13, state=State.UPLOADING)
    [deleted] = await stored(row_storehouse, 14)
    await deletion.delete_media(row_storehouse.depot, WORKSPACE, deleted)
    expected = [inside[0], *foreign, *inside[1:]]
    for size in (1, 2, 3, 6, 1000):
        pages = await walked(row_storehouse, BEGIN + 10 * MINUTE, BEGIN + 20 * MINUTE, size)
        assert [media_id for page in pages for media_id in page] == expected
        assert [len(page) for page in pages[:-1]] == [size] * (len(pages) - 1)
    everything = await walked(row_storehouse, datetime(1970, 1, 1, tzinfo=UTC), BEGIN + 21 * MINUTE, 0)
    assert everything == [[early, *expected, late]]


async def test_a_page_that_cannot_be_is_refused(row_storehouse: Storehouse) -> None:
    for size in (-1, 1001):
        with pytest.raises(InvalidField):
            await list_media(row_storehouse.depot, BEGIN, BEGIN + MINUTE, size, "")
    for token in ("abc", "!", "A" * 32, "A" * 1000, "/" * 32):
        try:
            page = await list_media(row_storehouse.depot, BEGIN, BEGIN + MINUTE, 10, token)
        except InvalidPageToken:
            continue
        assert page.next_page_token == ""
    with pytest.raises(InvalidPageToken):
        await list_media(row_storehouse.depot, BEGIN, BEGIN + MINUTE, 10, "abc")
