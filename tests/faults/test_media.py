"""The corpus of hostile media ends as written, and its parts do what the campaign relies on."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from faults.campaign import Options
from faults.campaigns import media
from faults.corpora.media.bombs import flac_silence
from faults.corpora.media.canaries import Canaries, open_canaries
from faults.corpora.media.lures import texts
from faults.corpora.media.mutator import mutate
from faults.corpora.media.wav_lies import Head
from tests.e2e.mesh import wait_for

# A file object with a name makes libav heed what playlists point at.
OPEN = "import av, sys; av.open(open(sys.argv[1], 'rb'), timeout=10)"
OPEN_SECONDS = 60


@pytest.mark.timeout(1200)
def test_every_hostile_file_ends_as_expected_and_harms_nothing(tmp_path: Path) -> None:
    figures = media.run(Options(tmp_path))
    assert [figure for figure in figures if not figure.holds] == []


def test_same_seed_makes_the_same_mutants() -> None:
    sources = [Head().wav(), flac_silence(60_000)]
    first = [mutate(sources, 7, number) for number in range(200)]
    assert first == [mutate(sources, 7, number) for number in range(200)]
    assert first != [mutate(sources, 8, number) for number in range(200)]
    assert len(set(first) - set(sources)) > 180


@pytest.mark.parametrize(("lure", "hit"), [("relative.ffconcat", "file"), ("http.m3u8", "tcp")])
async def test_canaries_note_what_an_unprotected_reader_opens(tmp_path: Path, lure: str, hit: str) -> None:
    async with open_canaries(tmp_path) as canaries:
        path = tmp_path / lure
        path.write_text(texts(canaries.bait)[lure])
        await asyncio.to_thread(open_unprotected, path)
        await until_hit(canaries, hit)


async def test_canaries_note_a_datagram(tmp_path: Path) -> None:
    async with open_canaries(tmp_path) as canaries:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=("127.0.0.1", canaries.bait.port)
        )
        transport.sendto(b"hello")
        transport.close()
        await until_hit(canaries, "udp")


async def until_hit(canaries: Canaries, hit: str) -> None:
    """Wait for it, while the event loop runs."""
    await asyncio.to_thread(wait_for, lambda: hit in canaries.hits, OPEN_SECONDS, f"a hit of {hit}")


def open_unprotected(path: Path) -> None:
    """What libav does with a file without a sandbox or a whitelist; whether it succeeds does not matter."""
    subprocess.run([sys.executable, "-c", OPEN, str(path)], stderr=subprocess.DEVNULL, timeout=OPEN_SECONDS, check=False)
