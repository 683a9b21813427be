"""What a file is comes from its content, how long it is from its packets, and neither from its claims."""

import asyncio
import random
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from faults.corpora.media.bombs import flac_silence
from services.media.errors import BrokenMedia, EmptyMedia, MediaError, MediaTooLong, UnsupportedMedia
from services.media.probe import Probe, probe
from services.media.sandbox import Sandbox

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT_MS = 36_000_000
TOLERANCE_MS = 50
EXPECTED = {
    "wav": ("wav", "pcm_s16le", "audio/wav", 44_100, 2),
    "wav_8k_mono": ("wav", "pcm_mulaw", "audio/wav", 8_000, 1),
    "wav_96k": ("wav", "pcm_s24le", "audio/wav", 96_000, 2),
    "mp3": ("mp3", "mp3", "audio/mpeg", 44_100, 2),
    "mp3_16k_mono": ("mp3", "mp3", "audio/mpeg", 16_000, 1),
    "m4a": ("mp4", "aac", "audio/mp4", 44_100, 2),
    "mov": ("mov", "aac", "video/quicktime", 48_000, 1),
    "mp4_video": ("mp4", "aac", "video/mp4", 44_100, 2),
    "ogg_opus": ("ogg", "opus", "audio/ogg", 48_000, 2),
    "ogg_vorbis": ("ogg", "vorbis", "audio/ogg", 44_100, 2),
    "flac": ("flac", "flac", "audio/flac", 22_050, 1),
    "webm": ("webm", "opus", "audio/webm", 48_000, 1),
    "webm_video": ("webm", "opus", "video/webm", 48_000, 1),
    "adts": ("aac", "aac", "audio/aac", 44_100, 2),
}
FdOf = Callable[[bytes], int]
OpenFd = Callable[[Path], int]
Write = Callable[..., Path]


class Lures(Protocol):
    """Texts that make an unprotected libav open other things, and the calls that came in."""

    texts: list[bytes]
    hits: list[object]


@pytest.mark.parametrize("duration_ms", [1_500, 12_345])
@pytest.mark.parametrize("name", EXPECTED)
async def test_every_container_is_named_and_measured(sandbox: Sandbox, write: Write, open_fd: OpenFd, name: str, duration_ms: int) -> None:
    found = await probe(sandbox, open_fd(write(name, duration_ms)), LIMIT_MS)
    named = (found.container, found.codec, found.media_type, found.sample_rate_hz, found.channels)
    assert named == EXPECTED[name]
    assert abs(found.duration_ms - duration_ms) <= TOLERANCE_MS
    assert found.has_video == name.endswith("video")
    assert found.bit_rate > 0


async def test_pcm_is_measured_to_the_millisecond_and_its_bit_rate_to_the_bit(sandbox: Sandbox, write: Write, open_fd: OpenFd) -> None:
    found = await probe(sandbox, open_fd(write("wav", 7_330)), LIMIT_MS)
    assert (found.duration_ms, found.bit_rate) == (7_330, 44_100 * 2 * 16)


async def test_name_of_the_file_does_not_matter(sandbox: Sandbox, write: Write, open_fd: OpenFd) -> None:
    path = write("wav", 1_500)
    found = await probe(sandbox, open_fd(path.rename(path.with_suffix(".mp3"))), LIMIT_MS)
    assert found.media_type == "audio/wav"


async def test_no_bytes_is_empty(sandbox: Sandbox, fd_of: FdOf) -> None:
    with pytest.raises(EmptyMedia):
        await probe(sandbox, fd_of(b""), LIMIT_MS)


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"This is a letter, not a recording.\n" * 100,
        b"%PDF-1.7\n" + bytes(2_000),
        b"\x7fELF" + bytes(2_000),
        b"PK\x03\x04" + bytes(2_000),
        b"\x1f\x8b\x08" + bytes(2_000),
        b"<!DOCTYPE html><html></html>" * 50,
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b"\x89PNG\r\n\x1a\n" + bytes(2_000),
        b"[Script Info]\nDialogue: 0,0:00:00.00,0:00:01.00,,hello\n",
    ],
)
async def test_what_is_not_media_is_unsupported(sandbox: Sandbox, fd_of: FdOf, data: bytes) -> None:
    with pytest.raises(UnsupportedMedia):
        await probe(sandbox, fd_of(data), LIMIT_MS)


@pytest.mark.parametrize("data", [b"ID3", b"ID3\x04" + bytes(500), b"fLaC", b"RIFF\x24\0\0\0WAVE", b"OggS"])
async def test_container_without_audio_is_broken(sandbox: Sandbox, fd_of: FdOf, data: bytes) -> None:
    with pytest.raises(BrokenMedia):
        await probe(sandbox, fd_of(data), LIMIT_MS)


async def test_playlist_and_session_files_open_nothing(sandbox: Sandbox, fd_of: FdOf, lures: Lures) -> None:
    for text in lures.texts:
        with pytest.raises(UnsupportedMedia):
            await probe(sandbox, fd_of(text), LIMIT_MS)
    assert lures.hits == []


async def test_video_without_sound_is_unsupported(sandbox: Sandbox, write: Write, open_fd: OpenFd) -> None:
    with pytest.raises(UnsupportedMedia, match="no audio stream"):
        await probe(sandbox, open_fd(write("video_only", 1_500)), LIMIT_MS)


async def test_flac_header_that_claims_weeks_is_not_believed(sandbox: Sandbox, write: Write, fd_of: FdOf) -> None:
    data = bytearray(write("flac", 8_000).read_bytes())
    data[21] |= 0x0F
    data[22:26] = b"\xff" * 4
    assert (await probe(sandbox, fd_of(bytes(data)), 60_000)).duration_ms == 8_000


async def test_wav_header_that_claims_4_gb_is_not_believed(sandbox: Sandbox, write: Write, fd_of: FdOf) -> None:
    data = write("wav", 8_000).read_bytes()
    size_at = data.index(b"data") + 4
    data = data[:size_at] + b"\xff\xff\xff\xff" + data[size_at + 4 :]
    assert (await probe(sandbox, fd_of(data), 60_000)).duration_ms == 8_000


@pytest.mark.parametrize("factor", [100, 0.01])
async def test_mp4_time_table_that_lies_is_not_believed(sandbox: Sandbox, write: Write, fd_of: FdOf, factor: float) -> None:
    # Without its edit list, which would cut the audio by the same false clock.
    data = bytearray(write("m4a", 12_000).read_bytes().replace(b"edts", b"free"))
    delta_at = data.index(b"stts") + 16
    assert struct.unpack_from(">I", data, delta_at) == (1_024,)
    struct.pack_into(">I", data, delta_at, int(1_024 * factor))
    found = await probe(sandbox, fd_of(bytes(data)), 60_000)
    assert abs(found.duration_ms - 12_000) <= TOLERANCE_MS


async def test_mp4_that_starts_honest_and_then_lies_is_not_believed(sandbox: Sandbox, write: Write, fd_of: FdOf) -> None:
    data = bytearray(write("m4a", 12_000).read_bytes().replace(b"edts", b"free"))
    table_at = data.index(b"stts") + 12
    first, _, last, _ = struct.unpack_from(">IIII", data, table_at)
    honest = first // 2 + 50
    struct.pack_into(">IIII", data, table_at, honest, 1_024, first + last - honest, 102_400)
    found = await probe(sandbox, fd_of(bytes(data)), 60_000)
    assert abs(found.duration_ms - 12_000) <= TOLERANCE_MS


@pytest.mark.parametrize(("rate", "channels"), [(1, 2), (0, 2), (3_999, 2), (384_001, 2), (1 << 31, 2), (16_000, 33)])
async def test_form_that_would_explode_is_refused(sandbox: Sandbox, fd_of: FdOf, rate: int, channels: int) -> None:
    body = bytes(96_000)
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2 & 0xFFFFFFFF, channels * 2, 16)
    data = b"RIFF" + struct.pack("<I", 36 + len(body)) + b"WAVEfmt " + struct.pack("<I", 16) + form
    with pytest.raises((UnsupportedMedia, BrokenMedia)):
        await probe(sandbox, fd_of(data + b"data" + struct.pack("<I", len(body)) + body), LIMIT_MS)


async def test_limit_holds_to_the_millisecond(sandbox: Sandbox, write: Write, open_fd: OpenFd) -> None:
    descriptor = open_fd(write("wav", 9_000))
    assert (await probe(sandbox, descriptor, 9_000)).duration_ms == 9_000
    with pytest.raises(MediaTooLong):
        await probe(sandbox, descriptor, 8_999)


async def test_ten_hours_of_uneven_blocks_are_not_a_millisecond_too_long(sandbox: Sandbox, fd_of: FdOf) -> None:
    assert (await probe(sandbox, fd_of(flac_silence(LIMIT_MS)), LIMIT_MS)).duration_ms == LIMIT_MS
    with pytest.raises(MediaTooLong):
        await probe(sandbox, fd_of(flac_silence(LIMIT_MS + 1)), LIMIT_MS)


@pytest.mark.parametrize("name", EXPECTED)
async def test_truncated_file_is_measured_by_what_is_left(sandbox: Sandbox, write: Write, fd_of: FdOf, name: str) -> None:
    data = write(name, 6_000).read_bytes()
    for percent in (1, 20, 50, 80, 99):
        outcome = await outcome_of(sandbox, fd_of(data[: len(data) * percent // 100]))
        if isinstance(outcome, Probe):
            assert outcome.duration_ms <= 6_000 + TOLERANCE_MS
        else:
            # An index at the end of the file is lost with the end.
            assert percent < 50 or name in {"m4a", "mov", "mp4_video"}


@pytest.mark.parametrize("name", ["wav", "mp3", "mp4_video", "ogg_vorbis", "flac", "webm"])
async def test_flipped_bits_harm_only_their_file(sandbox: Sandbox, write: Write, fd_of: FdOf, name: str) -> None:
    data = write(name, 1_500).read_bytes()
    generator = random.Random(name)
    outcomes = [await outcome_of(sandbox, fd_of(flip(data, generator))) for _ in range(25)]
    assert all(isinstance(outcome, Probe | MediaError) for outcome in outcomes)
    assert abs((await probe(sandbox, fd_of(data), LIMIT_MS)).duration_ms - 1_500) <= TOLERANCE_MS


def flip(data: bytes, generator: random.Random) -> bytes:
    """The data with bytes changed, most of them in the header."""
    changed = bytearray(data)
    for _ in range(20):
        changed[generator.randrange(min(len(data), 2_000))] = generator.randrange(256)
        changed[generator.randrange(len(data))] = generator.randrange(256)
    return bytes(changed)


async def outcome_of(sandbox: Sandbox, descriptor: int) -> Probe | MediaError:
    """The facts or the verdict; anything else raises."""
    try:
        return await probe(sandbox, descriptor, LIMIT_MS)
    except MediaError as verdict:
        return verdict


async def test_many_probes_share_one_descriptor(sandbox: Sandbox, write: Write, open_fd: OpenFd) -> None:
    descriptor = open_fd(write("m4a", 6_500))
    found = await asyncio.gather(*(probe(sandbox, descriptor, LIMIT_MS) for _ in range(8)))
    assert len(set(found)) == 1


async def test_probe_is_quick(sandbox: Sandbox, write: Write, open_fd: OpenFd, fd_of: FdOf) -> None:
    short = open_fd(write("mp3", 20_000))
    long = fd_of(Path(f"/dev/fd/{short}").read_bytes() * 90)
    for label, descriptor, bound_ms in (("20 s", short, 500), ("30 min", long, 5_000)):
        started = time.perf_counter()
        found = await probe(sandbox, descriptor, LIMIT_MS)
        took_ms = (time.perf_counter() - started) * 1000
        print(f"probe of {label} of mp3 ({found.duration_ms} ms): {took_ms:.0f} ms")
        assert took_ms < bound_ms
