"""YouTube: the real yt-dlp, in its process behind our proxy, against a local server that plays the site."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from services.mesh.errors import FetchBlocked, FetchFailed
from services.mesh.ids import new_id
from services.storage.domain import LicenceNotAllowed, SiteNotSupported, State
from services.storage.sites.extractor import Extractor
from services.storage.sites.tunnel import MAX_HEAD_BYTES, Connect, Streams, open_proxy
from services.storage.sites.youtube import PAGE_DOMAINS, choose_audio, is_page
from services.storage.usecases.arrivals import Arrivals
from services.storage.usecases.fetching import Fetcher, Order, fetch_media
from tests.certificates import Identity, write_identity
from tests.mesh.egress_world import PUBLIC, QUICK, World, open_world, page
from tests.storage.conftest import SAMPLE, WORKSPACE, Storehouse

pytestmark = pytest.mark.asyncio(loop_scope="session")

VIDEO = "abcdefghijk"
URL = f"https://www.youtube.com/watch?v={VIDEO}"
MEDIA_HOST = "rr1---sn-test.googlevideo.com"
CREATIVE_COMMONS = "Creative Commons Attribution license (reuse allowed)"


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """A certificate for the hosts that are played."""
    return write_identity(tmp_path_factory.mktemp("tls"), ["www.youtube.com", MEDIA_HOST])


@pytest_asyncio.fixture(loop_scope="session")
async def world(identity: Identity) -> AsyncIterator[World]:
    """A server that plays YouTube's page, its player endpoint and its media host."""
    async with open_world(replace(QUICK, idle_seconds=5.0, window_seconds=5.0), identity) as opened:
        opened.names |= {MEDIA_HOST: [[PUBLIC]], "www.youtube.com": [[PUBLIC]]}
        opened.pages["/videoplayback"] = page(SAMPLE.read_bytes())
        play_video(opened)
        yield opened
        assert opened.canary_visits == []


def play_video(world: World, licence: str | None = CREATIVE_COMMONS, **details: Any) -> None:
    """Pages of one video, as YouTube forms them."""
    row = {"metadataRowRenderer": {"title": {"simpleText": "License"}, "contents": [{"runs": [{"text": licence}]}]}}
    rows = {"metadataRowContainerRenderer": {"rows": [row] if licence else []}}
    results = {"results": {"contents": [{"videoSecondaryInfoRenderer": {"metadataRowContainer": rows}}]}}
    data = {"contents": {"twoColumnWatchNextResults": {"results": results}}}
    facts = {"videoId": VIDEO, "title": "A talk / on small servers", "lengthSeconds": "4", "channelId": "UC" + "a" * 22, **details}
    player: dict[str, Any] = {"playabilityStatus": {"status": "OK"}, "videoDetails": facts}
    html = f"<script>var ytInitialPlayerResponse = {json.dumps(player)};</script><script>var ytInitialData = {json.dumps(data)};</script>"
    sound = {"itag": 140, "url": f"https://{MEDIA_HOST}:{world.port}/videoplayback?itag=140", "bitrate": 130_000}
    sound |= {"mimeType": 'audio/mp4; codecs="mp4a.40.2"', "audioQuality": "AUDIO_QUALITY_MEDIUM"}
    answer = {**player, "streamingData": {"adaptiveFormats": [sound]}}
    world.pages["/watch"] = page(html.encode(), headers={"Content-Type": "text/html"})
    world.pages["/youtubei/v1/player"] = page(json.dumps(answer).encode(), headers={"Content-Type": "application/json"})


def to_local(world: World) -> Connect:
    """The way out, but port 443 is the local server's: only root may listen on the real one."""

    async def connect(host: str, port: int) -> Streams:
        return await world.egress.connect(host, world.port if port == 443 else port)

    return connect


def extractor(world: World, identity: Identity, seconds: float = 30.0) -> Extractor:
    """yt-dlp that trusts the local server."""
    return Extractor(to_local(world), seconds, identity.certificate)


async def fetch(house: Storehouse, world: World, reader: Extractor) -> Any:
    """The video, as storage fetches it."""
    fetcher = Fetcher(world.egress, reader, Arrivals(2))
    return await fetch_media(house.depot, fetcher, Order(WORKSPACE, new_id(), URL))


async def test_a_creative_commons_video_is_fetched(disk_storehouse: Storehouse, world: World, identity: Identity) -> None:
    media = await fetch(disk_storehouse, world, extractor(world, identity))
    assert (media.state, media.size_bytes) == (State.READY, SAMPLE.stat().st_size)
    assert media.filename == "A talk - on small servers.m4a"
    assert {head.split(b" ")[1].partition(b"?")[0] for head in world.heads} == {b"/watch", b"/youtubei/v1/player", b"/videoplayback"}
    assert not any(b"cookie: " in head.lower() and b"LOGIN" in head for head in world.heads)


@pytest.mark.parametrize("licence", [None, "Standard YouTube License", "Not Creative Commons"])
async def test_any_other_licence_is_refused_before_the_media(
    disk_storehouse: Storehouse, world: World, identity: Identity, licence: str | None
) -> None:
    play_video(world, licence)
    with pytest.raises(LicenceNotAllowed):
        await fetch(disk_storehouse, world, extractor(world, identity))
    assert not any(b"videoplayback" in head for head in world.heads)
    assert await disk_storehouse.blob_keys() == set()


async def test_a_live_stream_is_refused(disk_storehouse: Storehouse, world: World, identity: Identity) -> None:
    play_video(world, isLive=True, isLiveContent=True)
    with pytest.raises(SiteNotSupported):
        await fetch(disk_storehouse, world, extractor(world, identity))


async def test_a_page_that_is_missing_fails(world: World, identity: Identity) -> None:
    world.pages.clear()
    with pytest.raises(FetchFailed):
        await extractor(world, identity).find_audio(URL)


async def test_a_certificate_of_somebody_else_fails(world: World) -> None:
    with pytest.raises(FetchFailed):
        await Extractor(to_local(world), 30.0).find_audio(URL)
    assert world.heads == []


async def test_a_site_that_leads_inside_is_not_reached(world: World, identity: Identity) -> None:
    world.names["www.youtube.com"] = [["127.0.0.1"]]
    with pytest.raises(FetchFailed):
        await extractor(world, identity).find_audio(URL)


async def test_media_that_lies_inside_is_blocked(disk_storehouse: Storehouse, world: World, identity: Identity) -> None:
    world.names[MEDIA_HOST] = [["127.0.0.1"]]
    with pytest.raises(FetchBlocked):
        await fetch(disk_storehouse, world, extractor(world, identity))


async def test_a_reader_that_hangs_is_ended_with_its_process(world: World, identity: Identity) -> None:
    async def hang(head: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    world.pages["/watch"] = hang
    with pytest.raises(FetchFailed):
        await extractor(world, identity, 3.0).find_audio(URL)
    assert len(world.heads) == 1
    assert not [child for child in psutil.Process().children(recursive=True) if "yt_dlp" in child.cmdline()]


async def test_the_reader_sees_nothing_of_this_process(
    world: World, identity: Identity, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    canary = f"http://127.0.0.1:{world.port}"
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, canary)
    (tmp_path / "yt-dlp.conf").write_text(f"--proxy {canary}\n--exec touch {tmp_path / 'ran'}\n")
    (tmp_path / "yt_dlp_plugins").mkdir()
    (tmp_path / "yt_dlp.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    for name in ("HOME", "XDG_CONFIG_HOME", "PYTHONPATH"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert (await extractor(world, identity).find_audio(URL)).url.startswith(f"https://{MEDIA_HOST}")
    assert not (tmp_path / "ran").exists()


SOUND = {"protocol": "https", "acodec": "mp4a.40.2", "vcodec": "none", "url": "https://a.example/1", "ext": "m4a", "abr": 128}
TALK = {"_type": "video", "title": "Talk", "license": CREATIVE_COMMONS, "live_status": "not_live", "formats": [SOUND]}


async def test_the_best_plain_sound_in_the_original_language_is_chosen() -> None:
    formats = [
        SOUND,
        SOUND | {"url": "https://a.example/dubbed", "abr": 512, "language_preference": -1},
        SOUND | {"url": "https://a.example/better", "abr": 160, "ext": "webm"},
        SOUND | {"url": "https://a.example/pieces", "abr": 999, "protocol": "m3u8_native"},
        SOUND | {"url": "https://a.example/secret", "abr": 999, "has_drm": True},
        SOUND | {"url": "https://a.example/silent", "abr": 999, "acodec": "none"},
        SOUND | {"url": "https://a.example/film", "abr": 999, "vcodec": "avc1"},
        "nonsense",
    ]
    source = choose_audio(TALK | {"formats": formats})
    assert (source.url, source.title) == ("https://a.example/better", "Talk.webm")


@pytest.mark.parametrize(
    "change",
    [
        {"_type": "playlist", "entries": []},
        {"_type": "url"},
        {"entries": [{}]},
        {"is_live": True},
        {"live_status": "is_live"},
        {"live_status": "is_upcoming"},
        {"live_status": "post_live"},
        {"formats": []},
        {"formats": None},
        {"formats": [SOUND | {"protocol": "m3u8"}]},
        {"formats": [SOUND | {"url": None}]},
    ],
    ids=str,
)
async def test_what_is_no_single_video_with_sound_is_not_supported(change: dict[str, Any]) -> None:
    with pytest.raises(SiteNotSupported):
        choose_audio(TALK | change)


@pytest.mark.parametrize("licence", [None, "", 7, "Standard YouTube License", "non creative commons", ["Creative Commons"]], ids=str)
async def test_only_a_creative_commons_licence_is_allowed(licence: object) -> None:
    with pytest.raises(LicenceNotAllowed):
        choose_audio(TALK | {"license": licence})


async def test_only_the_sites_own_hosts_are_its_pages() -> None:
    for host in ("youtube.com", "www.youtube.com", "m.youtube.com", "music.youtube.com", "youtu.be", "youtube-nocookie.com"):
        assert is_page(f"https://{host}/watch?v=x")
    for host in ("youtube.com.evil.example", "notyoutube.com", "evil.example", "youtube.co", "youtu.be.example", "a.b.youtube.com"):
        assert not is_page(f"https://{host}/youtube.com")


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"CONNECT www.youtube.com:443 HTTP/1.1\r\n\r\n", b"200"),
        (b"connect WWW.YOUTUBE.COM:443 http/1.1\r\nHost: x\r\n\r\n", b"200"),
        (b"CONNECT media.example:443 HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT evilyoutube.com:443 HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT youtube.com.evil.example:443 HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT 127.0.0.1:443 HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT www.youtube.com:22 HTTP/1.1\r\n\r\n", b"403"),
        (b"GET http://www.youtube.com/ HTTP/1.1\r\n\r\n", b"403"),
        (b"CONNECT intranet.youtube.com:443 HTTP/1.1\r\n\r\n", b"502"),
        (b"CONNECT www.youtube.com:443 HTTP/1.1\r\nX: " + b"a" * MAX_HEAD_BYTES * 2 + b"\r\n\r\n", b""),
        (b"nonsense\r\n\r\n", b"403"),
    ],
    ids=ascii,
)
async def test_the_proxy_reaches_the_site_and_nothing_else(world: World, request_head: bytes, status: bytes) -> None:
    async with open_proxy(to_local(world), PAGE_DOMAINS) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.rpartition(":")[2]))
        with contextlib.suppress(ConnectionError):
            writer.write(request_head)
            answer = b""
            answer = await reader.readline()
        assert answer.partition(b" ")[2][:3] == status
        writer.close()


async def test_the_proxy_is_gone_with_its_reader(world: World) -> None:
    async with open_proxy(to_local(world), PAGE_DOMAINS) as proxy:
        port = int(proxy.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
