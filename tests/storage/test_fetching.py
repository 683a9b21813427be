"""Media from URLs, through the real way out, from a small server that plays the internet."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
import pytest_asyncio
from sqlmodel import select

from services.mesh.errors import FetchBlocked, FetchFailed, InvalidField, InvalidUrl, MeshError, Overloaded, ServiceUnavailable
from services.mesh.identity import acting_for
from services.mesh.ids import new_id
from services.storage.domain import (
    BrokenMedia,
    EmptyMedia,
    MediaNotFound,
    MediaTooLarge,
    MediaTooLong,
    SiteNotSupported,
    State,
    UnsupportedMedia,
    offered_filename,
)
from services.storage.sites.extractor import Extractor
from services.storage.store import objects
from services.storage.store.tables import Media
from services.storage.usecases import deletion, upkeep
from services.storage.usecases.arrivals import WAITING_PER_SLOT, Arrivals
from services.storage.usecases.fetching import Fetcher, Order, fetch_media
from tests.mesh.egress_world import Answer, World, open_world, page, raw, redirect, send
from tests.storage.conftest import SAMPLE, STRANGER, WORKSPACE, Storehouse

pytestmark = pytest.mark.asyncio(loop_scope="session")
SOUND = SAMPLE.read_bytes()


@dataclass
class Site:
    """A storehouse, and the internet that it fetches from."""

    house: Storehouse
    world: World
    fetcher: Fetcher

    async def fetch(self, path: str = "/talk.flac", media_id: str = "", **limits: int) -> Media:
        """Fetch a page of the public server."""
        url = path if "://" in path else self.world.url(path)
        return await fetch_media(self.house.depot, self.fetcher, Order(WORKSPACE, media_id or new_id(), url, **limits))

    async def rows(self) -> list[Media]:
        """All media, the deleted ones included."""
        async with self.house.depot.database.reading() as session:
            return list((await session.exec(select(Media))).all())

    async def assert_nothing_is_kept(self) -> None:
        """Neither row nor blob nor remnant."""
        await deletion.reap(self.house.depot)
        assert await self.rows() == []
        assert await self.house.blob_keys() == set()


@pytest_asyncio.fixture(loop_scope="session")
async def site(disk_storehouse: Storehouse) -> AsyncIterator[Site]:
    """One on disk."""
    async with open_site(disk_storehouse) as opened:
        yield opened


@contextlib.asynccontextmanager
async def open_site(house: Storehouse, slots: int = 4) -> AsyncIterator[Site]:
    """The storehouse with its own internet."""
    async with open_world() as world:
        fetcher = Fetcher(world.egress, Extractor(world.egress.connect), Arrivals(slots, look_seconds=0.02))
        yield Site(house, world, fetcher)
        assert world.canary_visits == []


async def test_fetched_media_is_ready_under_the_callers_id(storehouse: Storehouse) -> None:
    async with open_site(storehouse) as site:
        site.world.pages |= {"/start": redirect("/audio/talk%20one.flac?x=1"), "/audio/talk%20one.flac": page(SOUND)}
        media_id = new_id()
        media = await site.fetch("/start", media_id)
        assert (media.id, media.workspace_id, media.state) == (media_id, WORKSPACE, State.READY)
        assert (media.size_bytes, media.sha256) == (len(SOUND), hashlib.sha256(SOUND).hexdigest())
        assert (media.container, media.filename) == ("flac", "talk one.flac")
        assert len(await storehouse.blob_keys()) == 1
        assert "relay" in storehouse.woken


async def test_a_repeated_call_answers_the_same_without_fetching(site: Site) -> None:
    site.world.pages["/talk.flac"] = page(SOUND)
    media_id = new_id()
    first = await site.fetch(media_id=media_id)
    assert await site.fetch(media_id=media_id) == first
    assert len(site.world.heads) == 1


async def test_concurrent_calls_make_one_media_of_one_fetch(site: Site) -> None:
    site.world.pages["/talk.flac"] = page(SOUND)
    media_id = new_id()
    found = await asyncio.gather(*(site.fetch(media_id=media_id) for _ in range(8)))
    assert {media.sha256 for media in found} == {hashlib.sha256(SOUND).hexdigest()}
    assert len(site.world.heads) == 1
    assert len(await site.house.blob_keys()) == 1


async def test_another_replica_fetching_the_same_leaves_one_media(site: Site) -> None:
    site.world.pages["/talk.flac"] = page(SOUND)
    media_id = new_id()
    replicas = [Site(site.house, site.world, replace(site.fetcher, arrivals=Arrivals(4))) for _ in range(3)]
    results = await asyncio.gather(*(replica.fetch(media_id=media_id) for replica in replicas), return_exceptions=True)
    assert {type(result) for result in results} <= {Media, ServiceUnavailable}
    assert (await site.fetch(media_id=media_id)).state == State.READY
    assert len(await site.house.blob_keys()) == 1


async def test_a_call_after_a_crash_in_the_middle_fetches_anew(site: Site) -> None:
    site.world.pages["/talk.flac"] = stalled(SOUND[:1000])
    media_id = new_id()
    dying = asyncio.create_task(site.fetch(media_id=media_id))
    await until(lambda: has_state(site, media_id, State.UPLOADING))
    dying.cancel()
    await asyncio.wait([dying])
    assert [media.state for media in await site.rows()] == [State.UPLOADING]
    site.world.pages["/talk.flac"] = page(SOUND)
    assert (await site.fetch(media_id=media_id)).state == State.READY
    assert len(await site.house.blob_keys()) == 1


async def test_deleting_stops_the_fetch_and_keeps_nothing(site: Site) -> None:
    site.world.pages["/talk.flac"] = stalled(SOUND[:1000], drip=True)
    media_id = new_id()
    fetching = asyncio.create_task(site.fetch(media_id=media_id))
    await until(lambda: has_state(site, media_id, State.UPLOADING))
    await deletion.delete_media(site.house.depot, WORKSPACE, media_id)
    with pytest.raises(MediaNotFound):
        await fetching
    await site.assert_nothing_is_kept()


async def test_deleted_media_is_not_fetched_again(site: Site) -> None:
    site.world.pages["/talk.flac"] = page(SOUND)
    media_id = new_id()
    await site.fetch(media_id=media_id)
    await deletion.delete_media(site.house.depot, WORKSPACE, media_id)
    with pytest.raises(MediaNotFound):
        await site.fetch(media_id=media_id)


async def test_the_id_of_another_workspace_is_not_found(row_storehouse: Storehouse) -> None:
    async with open_site(row_storehouse) as site:
        site.world.pages["/talk.flac"] = page(SOUND)
        media = await site.fetch()
        # As an RPC does it: on Postgres the stranger's transactions do not see the row.
        with acting_for(STRANGER), pytest.raises(MediaNotFound):
            await fetch_media(site.house.depot, site.fetcher, Order(STRANGER, media.id, site.world.url("/talk.flac")))


REFUSED: dict[str, tuple[Answer, type[MeshError]]] = {
    "page": (page(b"<!doctype html><title>x</title>" * 100, headers={"Content-Type": "text/html; charset=utf-8"}), UnsupportedMedia),
    "page without type": (page(b"<!doctype html><title>x</title>" * 100), UnsupportedMedia),
    "hls": (page(b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1/a.ts\n#EXT-X-ENDLIST\n"), UnsupportedMedia),
    "dash": (page(b'<?xml version="1.0"?><MPD><BaseURL>http://127.0.0.1/</BaseURL></MPD>'), UnsupportedMedia),
    "concat": (page(b"ffconcat version 1.0\nfile secret.wav\n"), UnsupportedMedia),
    "sdp": (page(b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n"), UnsupportedMedia),
    "empty": (page(b""), EmptyMedia),
    "broken": (page(b"ID3" + bytes(5000)), BrokenMedia),
    "too large, announced": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n"), MediaTooLarge),
    "too large, unannounced": (raw(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(400_000)), MediaTooLarge),
    "cut short": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + SOUND[:1000]), FetchFailed),
    "missing": (raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), FetchFailed),
    "redirected inside": (redirect("http://127.0.0.1/"), FetchBlocked),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_no_media_is_refused_and_nothing_of_it_is_kept(site: Site, case: str) -> None:
    answer, refusal = REFUSED[case]
    site.world.pages["/x"] = answer
    with pytest.raises(refusal) as caught:
        await site.fetch("/x", max_size_bytes=300_000)
    assert type(caught.value) is refusal
    await site.assert_nothing_is_kept()


async def test_too_much_audio_is_refused(site: Site) -> None:
    site.world.pages["/talk.flac"] = page(SOUND)
    with pytest.raises(MediaTooLong):
        await site.fetch(max_duration_ms=1)
    await site.assert_nothing_is_kept()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://127.0.0.1/", "http://a:b@media.example/", "http://localhost/", ""])
async def test_a_bad_url_is_refused_before_anything_is_noted(site: Site, url: str) -> None:
    with pytest.raises(InvalidUrl):
        await fetch_media(site.house.depot, site.fetcher, Order(WORKSPACE, new_id(), url))
    assert await site.rows() == []


async def test_a_private_name_is_blocked(site: Site) -> None:
    with pytest.raises(FetchBlocked):
        await site.fetch(site.world.url(name="intranet.example"))
    await site.assert_nothing_is_kept()


@pytest.mark.parametrize("order", [Order(WORKSPACE, "x", "http://a.example/"), Order(WORKSPACE, new_id(), "http://a.example/", -1)])
async def test_bad_fields_are_refused(site: Site, order: Order) -> None:
    with pytest.raises(InvalidField):
        await fetch_media(site.house.depot, site.fetcher, order)


async def test_one_fetch_too_many_waits_and_a_long_line_is_refused(disk_storehouse: Storehouse) -> None:
    async with open_site(disk_storehouse, slots=1) as site:
        gate = asyncio.Event()

        async def gated(head: bytes, writer: asyncio.StreamWriter) -> None:
            await gate.wait()
            await page(SOUND)(head, writer)

        site.world.pages["/talk.flac"] = gated
        waiting = [asyncio.create_task(site.fetch()) for _ in range(WAITING_PER_SLOT + 2)]
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert [type(task.exception()) for task in done] == [Overloaded]
        gate.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert len(site.world.heads) <= WAITING_PER_SLOT + 1
        assert sum(isinstance(result, Media) for result in results) == WAITING_PER_SLOT + 1


async def test_a_fetch_that_begins_again_is_not_abandoned_for_its_first_try(site: Site) -> None:
    site.world.pages["/talk.flac"] = stalled(SOUND[:1000], drip=True)
    media_id = new_id()
    first = asyncio.create_task(site.fetch(media_id=media_id))
    await until(lambda: has_state(site, media_id, State.UPLOADING))
    first.cancel()
    await asyncio.wait([first])
    begun = (await site.rows())[0].change_time
    site.world.heads.clear()
    second = asyncio.create_task(site.fetch(media_id=media_id))
    await until(lambda: has_state(site, media_id, State.UPLOADING))
    assert (await site.rows())[0].change_time > begun
    second.cancel()
    await asyncio.wait([second])
    assert await upkeep.expire_uploads(site.house.depot, timedelta(hours=1)) == 0
    assert await upkeep.expire_uploads(site.house.depot, timedelta(seconds=-1)) == 1
    await site.assert_nothing_is_kept()


async def test_pages_of_youtube_go_to_the_extractor_and_look_alikes_do_not(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for host in (
        "youtube.com",
        "www.youtube.com",
        "m.youtube.com",
        "music.youtube.com",
        "youtu.be",
        "youtube-nocookie.com",
        "YouTube.com.",
    ):
        with pytest.raises(SiteNotSupported):
            await site.fetch(f"https://{host}/watch?v=x")
    for host in ("youtube.com.evil.example", "notyoutube.com", "youtube.com-evil.example", "evil.example"):
        with pytest.raises(FetchBlocked):
            await site.fetch(f"http://{host}:{site.world.port}/youtube.com")
    for text in ("https://youtu.be@evil.example/", "https://youtube.com%2eevil.example/", "https://www.youtube.com\\@evil.example/"):
        with pytest.raises(InvalidUrl):
            await site.fetch(text)
    await site.assert_nothing_is_kept()


@pytest.mark.parametrize(
    ("disposition", "target", "name"),
    [
        ("", "/a/talk.mp3?x=/y.wav", "talk.mp3"),
        ("", "/%E4%BC%9A%E8%AD%B0.wav", "会議.wav"),
        ("", "/", ""),
        ("attachment", "/a.mp3", "a.mp3"),
        ('attachment; filename="b c.mp3"', "/a.mp3", "b c.mp3"),
        ("attachment; filename=b.mp3", "/a.mp3", "b.mp3"),
        ("attachment; filename=\"b.mp3\"; filename*=UTF-8''%e2%82%ac.mp3", "/a.mp3", "€.mp3"),
        ("inline; filename*=iso-8859-1'en'%A3.mp3", "/a.mp3", "£.mp3"),
        ('attachment; filename="a\\"b.mp3"', "/a.mp3", 'a"b.mp3'),
    ],
)
async def test_the_name_is_the_servers_or_the_paths(disposition: str, target: str, name: str) -> None:
    assert offered_filename(disposition, target) == name


def stalled(content: bytes, *, drip: bool = False) -> Answer:
    """A reply that never ends."""

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        await send(writer, b"HTTP/1.1 200 OK\r\nContent-Length: 250000\r\n\r\n" + content)
        with contextlib.suppress(OSError):
            while not writer.is_closing():
                await asyncio.sleep(0.01)
                if drip:
                    await send(writer, bytes(100))

    return answer


async def has_state(site: Site, media_id: str, state: State) -> bool:
    """Whether the row is there, in this state, and its page was asked for."""
    found = await objects.find(site.house.depot.database, Media, media_id)
    return found is not None and found.state == state and bool(site.world.heads)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for it, ten seconds at most."""
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.01)
