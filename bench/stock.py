"""Media that jobs can be made of: one uploaded, the others copies of its row, because a job takes its media for itself."""

import uuid
from collections import deque

from sqlalchemy import insert, select

from services.mesh.columns import table_of
from services.mesh.database import open_database
from services.mesh.ids import new_id
from services.storage.store.tables import Media

_MEDIA = table_of(Media)
_BATCH_ROWS = 5000


async def copied(url: str, media_id: str, count: int) -> deque[str]:
    """Ids of so many copies, in the database of a running storage. Their bytes do not exist: nothing may read them."""
    async with open_database(url, schema="storage") as database:
        async with database.reading() as session:
            row = (await (await session.connection()).execute(select(_MEDIA).where(_MEDIA.c.id == media_id))).one()
        ids: deque[str] = deque()
        while len(ids) < count:
            rows = [{**row._asdict(), "id": new_id(), "object_key": uuid.uuid4().hex} for _ in range(min(_BATCH_ROWS, count - len(ids)))]
            async with database.transaction() as session:
                await (await session.connection()).execute(insert(_MEDIA), rows)
            ids.extend(str(copy["id"]) for copy in rows)
    return ids
