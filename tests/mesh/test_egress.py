"""The way out against a hostile small internet on loopback."""

import asyncio
import contextlib
import gzip
import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
import pytest_asyncio

from faults.corpora.egress import blocked_urls, invalid_urls, locations
from services.mesh.egress.egress import Egress, open_egress
from services.mesh.egress.reply import ReplyTooLarge
from services.mesh.egress.resolving import MAX_ANSWERS
from services.mesh.errors import FetchBlocked, FetchFailed, InvalidUrl, MeshError
from tests.certificates import write_identity
from tests.mesh.egress_world import POLICY, PUBLIC, QUICK, World, open_world, page, raw, redirect, send

SECRETS = ("127.0.0", "Connection refused", "SSH", "errno", "Errno")


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    """Servers and a way out."""
    async with open_world() as opened:
        yield opened
        assert opened.canary_visits == []


async def refusal(world: World, url: str) -> MeshError:
    """How fetching this is refused; it must be."""
    with pytest.raises((InvalidUrl, FetchBlocked, FetchFailed)) as caught:
        await world.fetch(url)
    assert not any(secret in caught.value.message for secret in SECRETS)
    assert caught.value.metadata == {}
    return caught.value


async def test_the_canaries_do_notice_visitors(world: World) -> None:
    for host in ("127.0.0.1", "::1"):
        _, writer = await asyncio.open_connection(host, world.port)
        async with asyncio.timeout(60):
            while world.port not in world.canary_visits:
                await asyncio.sleep(0)
        writer.close()
        world.canary_visits.clear()


async def test_a_public_page_arrives_whole(world: World) -> None:
    world.pages["/a.mp3"] = page(b"sound" * 10_000)
    assert await world.fetch(world.url("/a.mp3")) == b"sound" * 10_000
    head = world.heads[0].decode().lower()
    assert f"host: media.example:{world.port}\r\n" in head
    assert "accept-encoding: identity\r\n" in head
    assert "cookie" not in head
    assert "authorization" not in head


async def test_no_url_of_the_corpus_reaches_a_private_address(world: World) -> None:
    invalid, blocked = list(invalid_urls(world.port)), list(blocked_urls(world.port))
    assert len(invalid) + len(blocked) >= 150
    assert {type(await refusal(world, url)) for url in invalid} == {InvalidUrl}
    assert {type(await refusal(world, url)) for url in blocked} == {FetchBlocked}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_reaches_a_private_address(world: World, status: int) -> None:
    for url in locations(world.port):
        world.pages["/"] = redirect(url, status)
        assert isinstance(await refusal(world, world.url()), FetchBlocked), url


@pytest.mark.parametrize(
    "location", ["//127.0.0.1:{port}/", "http:\\\\127.0.0.1", "/a\r\nLocation: http://127.0.0.1:{port}/", "\x00", "/\x7f"]
)
async def test_no_odd_location_reaches_a_private_address(world: World, location: str) -> None:
    world.pages["/"] = redirect(location.replace("{port}", str(world.port)))
    await refusal(world, world.url())


async def test_three_redirects_are_followed_and_a_fourth_is_not(world: World) -> None:
    world.pages |= {f"/{step}": redirect(f"/{step + 1}") for step in range(30)} | {"/30": page(b"end")}
    assert await world.fetch(world.url("/27")) == b"end"
    world.heads.clear()
    assert isinstance(await refusal(world, world.url("/0")), FetchBlocked)
    assert len(world.heads) == 4


async def test_redirects_may_be_relative_and_to_other_names(world: World) -> None:
    world.names["cdn.example"] = [[PUBLIC]]
    world.pages |= {"/a/b": redirect("c?x=1"), "/a/c": redirect(f"//cdn.example:{world.port}/d"), "/d": page(b"found")}
    assert await world.fetch(world.url("/a/b")) == b"found"
    assert b"Host: cdn.example:" in world.heads[-1]
    assert world.asked == ["media.example", "media.example", "cdn.example"]


async def test_what_is_meant_for_one_server_is_not_shown_to_another(world: World) -> None:
    world.names["cdn.example"] = [[PUBLIC]]
    world.pages |= {"/": redirect("/same"), "/same": redirect(f"http://cdn.example:{world.port}/other"), "/other": page(b"x")}
    async with world.egress.stream(world.url(), max_bytes=10, headers={"X-Secret": "canary"}) as reply:
        assert [piece async for piece in reply.pieces()] == [b"x"]
    assert [b"canary" in head for head in world.heads] == [True, True, False]


async def test_a_body_is_sent_and_the_answer_told_whatever_it_is(world: World) -> None:
    world.pages |= {"/in": page(b"ignored" * 100_000, "202 Accepted"), "/gone": page(b"", "410 Gone", {"Retry-After": "7"})}
    assert (await world.egress.post(world.url("/in"), b'{"a":1}', {"webhook-id": "7"})).status == 202
    assert b"webhook-id: 7\r\n" in world.heads[0]
    assert world.heads[0].startswith(b"POST /in HTTP/1.1\r\n")
    assert world.heads[0].endswith(b'\r\n\r\n{"a":1}')
    gone = await world.egress.post(world.url("/gone"), b"", {})
    assert (gone.status, gone.headers["retry-after"]) == (410, "7")


async def test_a_body_is_sent_to_no_private_address_and_follows_no_redirect(world: World) -> None:
    world.pages["/"] = redirect(f"http://127.0.0.1:{world.port}/")
    assert (await world.egress.post(world.url(), b"{}", {})).status == 302
    for url in [*invalid_urls(world.port), *blocked_urls(world.port)]:
        with pytest.raises((InvalidUrl, FetchBlocked)):
            await world.egress.post(url, b"{}", {})
    assert len(world.heads) == 1


async def test_a_loop_ends(world: World) -> None:
    world.pages["/"] = redirect("/")
    assert isinstance(await refusal(world, world.url()), FetchBlocked)


async def test_a_refresh_header_is_no_redirect(world: World) -> None:
    world.pages["/"] = page(b"x", headers={"Refresh": f"0; url=http://127.0.0.1:{world.port}/", "Alt-Svc": f'h2="127.0.0.1:{world.port}"'})
    assert await world.fetch(world.url()) == b"x"


@pytest.mark.parametrize(
    "answers",
    [
        [PUBLIC, "127.0.0.1"],
        ["127.0.0.1", PUBLIC],
        [PUBLIC, "::1"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["10.0.0.1"],
        ["fe80::1"],
    ],
    ids=str,
)
async def test_one_private_answer_blocks_the_name(world: World, answers: list[str]) -> None:
    world.names["mixed.example"] = [answers]
    assert isinstance(await refusal(world, world.url(name="mixed.example")), FetchBlocked)


async def test_a_name_that_turns_private_is_never_followed(world: World) -> None:
    world.pages["/"] = page(b"x")
    for _ in range(200):
        world.names["rebind.example"] = [[PUBLIC], ["127.0.0.1"]]
        assert await world.fetch(world.url(name="rebind.example")) == b"x"
        assert world.asked.pop() == "rebind.example"
        assert isinstance(await refusal(world, world.url(name="rebind.example")), FetchBlocked)


async def test_a_name_that_turns_private_between_redirects_is_blocked(world: World) -> None:
    world.names["rebind.example"] = [[PUBLIC], ["127.0.0.1"]]
    world.pages["/"] = redirect("/again")
    assert isinstance(await refusal(world, world.url(name="rebind.example")), FetchBlocked)
    assert len(world.heads) == 1


@pytest.mark.parametrize("answers", [[], ["never"], [PUBLIC] * (MAX_ANSWERS + 1)], ids=["none", "silence", "too many"])
async def test_useless_answers_fail(world: World, answers: list[str]) -> None:
    world.names["odd.example"] = [answers]
    assert isinstance(await refusal(world, world.url(name="odd.example")), FetchFailed)


async def test_many_public_answers_are_fine(world: World) -> None:
    world.names["many.example"] = [[PUBLIC] * MAX_ANSWERS]
    world.pages["/"] = page(b"x")
    assert await world.fetch(world.url(name="many.example")) == b"x"


async def test_the_machines_own_resolver_is_judged_too(world: World) -> None:
    async with open_egress(POLICY, QUICK) as egress:
        with pytest.raises(InvalidUrl):
            async with egress.stream(f"http://localhost:{world.port}/", max_bytes=1):
                pass
        with pytest.raises((FetchBlocked, FetchFailed)):
            async with egress.stream(f"http://{os.uname().nodename.lower()}:{world.port}/", max_bytes=1):
                pass
        with pytest.raises(FetchFailed):
            async with egress.stream("http://no-such-name.invalid/", max_bytes=1):
                pass


async def test_the_proxies_of_the_environment_are_not_used(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{world.port}")
    world.pages["/"] = page(b"x")
    async with open_egress(POLICY, QUICK, resolve=world.resolve) as egress, egress.stream(world.url(), max_bytes=10) as reply:
        assert [piece async for piece in reply.pieces()] == [b"x"]


HEAD = b"HTTP/1.1 200 OK\r\n"
BAD_REPLIES = {
    "gzip bomb": HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(1 << 20)),
    "brotli": HEAD + b"Content-Encoding: br\r\n\r\nxx",
    "zstd": HEAD + b"Content-Encoding: zstd\r\n\r\nxx",
    "twice encoded": HEAD + b"Content-Encoding: identity, gzip\r\n\r\nxx",
    "gzip as transfer": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "body cut short": HEAD + b"Content-Length: 100\r\n\r\nshort",
    "two lengths": HEAD + b"Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde",
    "negative length": HEAD + b"Content-Length: -3\r\n\r\nabc",
    "length that is none": HEAD + b"Content-Length: 0x3\r\n\r\nabc",
    "chunks cut short": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    "bad chunk size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n",
    "length and chunks": HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "one long header": HEAD + b"X: " + b"a" * (1 << 20) + b"\r\n\r\n",
    "many headers": HEAD + b"X: a\r\n" * 100_000 + b"\r\n",
    "no end of head": HEAD + b"X: a\r\n",
    "endless interim replies": b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000 + HEAD + b"Content-Length: 0\r\n\r\n",
    "upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "part that nobody asked for": b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/10\r\nContent-Length: 2\r\n\r\nab",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "unauthorized": b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
    "not found": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "server error": b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
    "redirect to nowhere": b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
    "not modified": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "SSH banner": b"SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/0.9": b"<html>",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS where none was asked": b"\x16\x03\x01\x02\x00\x01",
    "nothing": b"",
    "broken header": HEAD + b"Bad Header: x\r\n\r\n",
    "injected header": HEAD + b"X: a\r\n b\0c\r\n\r\n",
}


@pytest.mark.parametrize("reply", BAD_REPLIES.values(), ids=BAD_REPLIES.keys())
async def test_bad_replies_fail_and_say_no_more(world: World, reply: bytes) -> None:
    world.pages["/"] = raw(reply)
    refused = await refusal(world, world.url())
    assert isinstance(refused, FetchFailed)
    assert refused.message == FetchFailed().message


async def test_a_closed_port_fails_like_anything_else(world: World) -> None:
    refused = await refusal(world, "http://media.example:1/")
    assert (type(refused), refused.message) == (FetchFailed, FetchFailed().message)


async def test_a_length_past_the_limit_is_refused_before_the_body(world: World) -> None:
    world.pages["/"] = raw(HEAD + b"Content-Length: 10737418240\r\n\r\n")
    with pytest.raises(ReplyTooLarge):
        await world.fetch(world.url(), max_bytes=1000)


async def test_an_endless_body_ends_at_the_limit(world: World) -> None:
    async def endless(head: bytes, writer: asyncio.StreamWriter) -> None:
        await send(writer, HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                await send(writer, b"1000\r\n" + bytes(0x1000) + b"\r\n")

    world.pages["/"] = endless
    with pytest.raises(ReplyTooLarge):
        await world.fetch(world.url(), max_bytes=1 << 20)


async def test_lines_of_chunks_are_counted_too(world: World) -> None:
    """Each chunk carries one byte behind 16 KB of extension."""
    sent: list[int] = []

    async def wasteful(head: bytes, writer: asyncio.StreamWriter) -> None:
        await send(writer, HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(2000):
                await send(writer, b"1;a=" + b"b" * 16_000 + b"\r\nx\r\n")
                sent.append(1)

    world.pages["/"] = wasteful
    assert isinstance(await refusal(world, world.url()), FetchFailed)
    assert len(sent) < 1000


async def test_a_body_of_just_the_limit_arrives(world: World) -> None:
    world.pages["/"] = page(bytes(1000))
    assert len(await world.fetch(world.url(), max_bytes=1000)) == 1000


@pytest.mark.parametrize("prefix", [b"", HEAD + b"Content-Length: 1000000\r\n\r\n"], ids=["head", "body"])
async def test_a_drip_is_given_up(world: World, prefix: bytes) -> None:
    async def drip(head: bytes, writer: asyncio.StreamWriter) -> None:
        await send(writer, prefix)
        with contextlib.suppress(OSError):
            while not writer.is_closing():
                await send(writer, b"X")
                await asyncio.sleep(0.02)

    world.pages["/"] = drip
    started = time.monotonic()
    assert isinstance(await refusal(world, world.url()), FetchFailed)
    assert time.monotonic() - started < 3


async def test_silence_is_given_up(world: World) -> None:
    async def silence(head: bytes, writer: asyncio.StreamWriter) -> None:
        await send(writer, HEAD + b"Content-Length: 5\r\n\r\nab")
        await asyncio.sleep(3)

    world.pages["/"] = silence
    assert isinstance(await refusal(world, world.url()), FetchFailed)


async def test_a_reset_in_the_middle_fails(world: World) -> None:
    async def reset(head: bytes, writer: asyncio.StreamWriter) -> None:
        await send(writer, HEAD + b"Content-Length: 500000\r\n\r\n" + bytes(1000))
        writer.transport.abort()

    world.pages["/"] = reset
    assert isinstance(await refusal(world, world.url()), FetchFailed)


async def test_the_whole_time_is_bounded() -> None:
    async def steady(head: bytes, writer: asyncio.StreamWriter) -> None:
        await send(writer, HEAD + b"Content-Length: 1000000\r\n\r\n")
        with contextlib.suppress(OSError):
            while not writer.is_closing():
                await send(writer, bytes(4096))
                await asyncio.sleep(0.02)

    async with open_world(replace(QUICK, total_seconds=0.7)) as world:
        world.pages["/"] = steady
        started = time.monotonic()
        assert isinstance(await refusal(world, world.url()), FetchFailed)
        assert 0.6 < time.monotonic() - started < 3


async def test_refusals_take_a_least_time_whatever_their_cause() -> None:
    async with open_world(replace(QUICK, floor_seconds=0.3)) as world:
        for url in (world.url(name="private.example"), "http://media.example:1/", world.url("/missing")):
            started = time.monotonic()
            await refusal(world, url)
            assert time.monotonic() - started >= 0.3


async def test_a_tunnel_goes_to_checked_addresses_only(world: World) -> None:
    world.pages["/"] = page(b"x")
    _, writer = await world.egress.connect("media.example", world.port)
    writer.close()
    for name in ("private.example", "localhost", "127.0.0.1", "[::1]", "a@media.example", "127.1"):
        with pytest.raises((InvalidUrl, FetchBlocked)):
            await world.egress.connect(name, world.port)


async def read(egress: Egress, url: str) -> bytes:
    async with egress.stream(url, max_bytes=10) as reply:
        return b"".join([piece async for piece in reply.pieces()])


async def test_tls_is_verified_for_the_name_and_kept(tmp_path: Path) -> None:
    async with open_world(identity=write_identity(tmp_path, ["media.example"])) as world:
        world.names["other.example"] = [[PUBLIC]]
        world.pages |= {"/": page(b"{}"), "/down": redirect(f"http://media.example:{world.port}/")}
        base = world.url("").replace("http:", "https:")
        assert await read(world.egress, base + "/") == b"{}"
        await expect(FetchBlocked, read(world.egress, base + "/down"))
        await expect(FetchFailed, read(world.egress, base.replace("media.", "other.") + "/"))
        await expect(FetchFailed, read(world.egress, world.url("/")))
        async with open_egress(POLICY, QUICK, resolve=world.resolve) as strict:
            await expect(FetchFailed, read(strict, base + "/"))


async def test_an_expired_certificate_is_not_trusted(tmp_path: Path) -> None:
    async with open_world(identity=write_identity(tmp_path, ["media.example"], days=-1)) as world:
        world.pages["/"] = page(b"{}")
        await expect(FetchFailed, read(world.egress, world.url("/").replace("http:", "https:")))


async def expect(kind: type[MeshError], fetching: object) -> None:
    """It is refused as this."""
    with pytest.raises(kind):
        await fetching  # type: ignore[misc]


def test_the_public_address_of_these_tests_is_private_to_everyone_else() -> None:
    from services.mesh.egress.addresses import NetworkPolicy

    assert not NetworkPolicy().permits(ip_address(PUBLIC))
