"""Finding media that no job was made from: its submit broke off between the upload and the job."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.jobs.store.jobs import read_now
from services.jobs.store.removals import order_removal, spoken_for
from services.jobs.usecases.resources import Resources
from services.mesh import fault
from services.mesh.telemetry import get_logger
from steno.storage.v1.media_pb2 import Media
from steno.storage.v1.storage_service_pb2 import ListMediaRequest

_LOOK_BACK = timedelta(hours=25)
_PAGE_MEDIA = 500
_PAGES_AT_ONCE = 20


@dataclass(frozen=True)
class Walk:
    """Through the media of a span, up to a page of it; an empty token stands for the first."""

    begin: datetime
    before: datetime
    token: str = ""

    def request(self) -> ListMediaRequest:
        """Asks for the page that is next."""
        request = ListMediaRequest(page_size=_PAGE_MEDIA, page_token=self.token)
        request.create_time_from.FromDatetime(self.begin)
        request.create_time_before.FromDatetime(self.before)
        return request


async def next_walk(resources: Resources, last: Walk | None) -> Walk:
    """Where to look now: on from the last walk, or through the last day when there was none."""
    if last is not None and last.token:
        return last
    async with resources.database.reading() as session:
        before = await read_now(session) - resources.policy.orphan_media_age
    return Walk(before - _LOOK_BACK, before) if last is None else Walk(last.before, before)


async def order_orphans(resources: Resources, walk: Walk) -> Walk:
    """Orders the removal of orphans on the next pages; answers how far it came. Raises RemoteError when storage does not answer."""
    for _ in range(_PAGES_AT_ONCE):
        page = await resources.storage.ListMedia(walk.request())
        await _order_unspoken(resources, page.media)
        walk = Walk(walk.begin, walk.before, page.next_page_token)
        if not walk.token:
            break
    return walk


async def _order_unspoken(resources: Resources, media: Sequence[Media]) -> None:
    async with resources.database.reading() as session:
        known = await spoken_for(session, [item.id for item in media])
    orphans = [item for item in media if item.id not in known]
    if not orphans:
        return
    async with resources.database.transaction() as session:
        for item in orphans:
            await order_removal(session, "media", item.id, item.workspace_id, "")
        fault.point("jobs.orphans.before_commit")
    get_logger("jobs.orphans").warning("media of no job removed", count=len(orphans))
    resources.removals_waiting.set()
