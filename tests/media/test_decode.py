"""Any audio becomes 16 kHz mono PCM, in flat memory, however long or broken it is."""

import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from faults.corpora.media.wav_lies import Head
from services.media.decode import Decoded, decode
from services.media.errors import BrokenMedia, EmptyMedia, MediaTooLong, UnsupportedMedia
from services.media.limits import MEBIBYTE
from services.media.probe import probe
from services.media.sandbox import Sandbox

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT_MS = 36_000_000
TOLERANCE_MS = 50
PEAK_RSS_BYTES = 150 * MEBIBYTE
NAMES = ["wav", "wav_8k_mono", "wav_96k", "mp3", "mp3_16k_mono", "m4a", "mov", "mp4_video", "ogg_opus", "ogg_vorbis"]
NAMES += ["flac", "webm", "webm_video", "adts"]
CUT = {"wav", "mp3", "flac", "ogg_opus", "webm", "adts"}

FdOf = Callable[[bytes], int]
OpenFd = Callable[[Path], int]
Write = Callable[..., Path]


def read_pcm(descriptor: int) -> NDArray[np.int16]:
    """(samples,) int16 of all that was written."""
    return np.frombuffer(os.pread(descriptor, os.fstat(descriptor).st_size, 0), "<i2")


@pytest.mark.parametrize("name", NAMES)
async def test_every_container_decodes_to_its_tone(sandbox: Sandbox, write: Write, open_fd: OpenFd, pcm_fd: int, name: str) -> None:
    decoded = await decode(sandbox, open_fd(write(name, 3_210)), pcm_fd, LIMIT_MS)
    audio = read_pcm(pcm_fd)
    assert abs(decoded.duration_ms - 3_210) <= TOLERANCE_MS
    assert decoded == Decoded(len(audio), -(-len(audio) // 16), truncated=False)
    spectrum = np.abs(np.fft.rfft(audio[16_000:32_000].astype(np.float64)))
    assert spectrum.argmax() == 440
    assert 4_000 < np.abs(audio[16_000:32_000]).max() < 12_000


@pytest.mark.parametrize("name", NAMES)
async def test_probe_and_decode_agree(sandbox: Sandbox, write: Write, open_fd: OpenFd, pcm_fd: int, name: str) -> None:
    descriptor = open_fd(write(name, 8_765))
    found = await probe(sandbox, descriptor, LIMIT_MS)
    decoded = await decode(sandbox, descriptor, pcm_fd, LIMIT_MS)
    assert abs(found.duration_ms - decoded.duration_ms) <= TOLERANCE_MS


@pytest.mark.parametrize("name", sorted(CUT))
async def test_half_a_file_decodes_and_is_marked(sandbox: Sandbox, write: Write, fd_of: FdOf, pcm_fd: int, name: str) -> None:
    data = write(name, 6_000).read_bytes()
    decoded = await decode(sandbox, fd_of(data[: len(data) // 2]), pcm_fd, LIMIT_MS)
    assert decoded.truncated
    assert 1_000 <= decoded.duration_ms <= 4_000
    assert len(read_pcm(pcm_fd)) == decoded.samples


async def test_recording_trimmed_by_its_edit_list_is_not_truncated(sandbox: Sandbox, write: Write, fd_of: FdOf, pcm_fd: int) -> None:
    data = bytearray(write("m4a", 8_000).read_bytes())
    struct.pack_into(">I", data, data.index(b"elst") + 12, 4_000)
    decoded = await decode(sandbox, fd_of(bytes(data)), pcm_fd, LIMIT_MS)
    assert not decoded.truncated
    assert abs(decoded.duration_ms - 4_000) <= TOLERANCE_MS


async def test_garbage_after_a_good_start_is_left_out(sandbox: Sandbox, write: Write, fd_of: FdOf, pcm_fd: int) -> None:
    data = write("flac", 6_000).read_bytes()
    broken = data[: len(data) // 2] + os.urandom(len(data) // 2)
    decoded = await decode(sandbox, fd_of(broken), pcm_fd, LIMIT_MS)
    assert decoded.truncated
    assert 1_000 <= decoded.duration_ms <= 4_000


async def test_what_decodes_to_nothing_is_refused(sandbox: Sandbox, write: Write, fd_of: FdOf, pcm_fd: int) -> None:
    header = write("flac", 6_000).read_bytes()[:42]
    for data, verdict in (
        (b"", EmptyMedia),
        (b"text" * 100, UnsupportedMedia),
        (header, BrokenMedia),
        (header + bytes(50_000), BrokenMedia),
    ):
        with pytest.raises(verdict):
            await decode(sandbox, fd_of(data), pcm_fd, LIMIT_MS)


async def test_mp3_that_changes_rate_and_channels_decodes_to_its_end(sandbox: Sandbox, write: Write, fd_of: FdOf, pcm_fd: int) -> None:
    data = write("mp3", 2_000).read_bytes() + write("mp3_16k_mono", 2_000).read_bytes()
    decoded = await decode(sandbox, fd_of(data), pcm_fd, LIMIT_MS)
    assert abs(decoded.duration_ms - 4_000) <= 300


async def test_silence_bomb_stops_at_the_limit_in_flat_memory(sandbox: Sandbox, write: Write, open_fd: OpenFd, pcm_fd: int) -> None:
    descriptor = open_fd(write("flac", 3_600_000, silent=True))
    limit_ms = 600_000
    with pytest.raises(MediaTooLong):
        await decode(sandbox, descriptor, pcm_fd, limit_ms)
    assert os.fstat(pcm_fd).st_size <= (limit_ms + 1_000) * 32
    with pytest.raises(MediaTooLong):
        await probe(sandbox, descriptor, limit_ms)


async def test_long_audio_decodes_fast_in_flat_memory(sandbox: Sandbox, write: Write, fd_of: FdOf, pcm_fd: int) -> None:
    descriptor = fd_of(write("mp3", 20_000).read_bytes() * 30)
    progress: list[int] = []
    started = time.perf_counter()
    completed = await sandbox.run(
        "services.media.transcode:transcode",
        inputs=[descriptor],
        outputs=[pcm_fd],
        arguments={"max_duration_ms": LIMIT_MS},
        limits=sandbox.limits_with(cpu_seconds=60, file_size_bytes=40 * MEBIBYTE),
        timeout_seconds=60,
        on_progress=progress.append,
    )
    took = time.perf_counter() - started
    print(
        f"decode of 600 s of mp3: {600 / took:.0f} times real time, {completed.cpu_ms} ms of CPU, "
        f"{completed.peak_rss_bytes / MEBIBYTE:.0f} MiB"
    )
    assert abs(int(str(completed.result["duration_ms"])) - 600_000) <= 3_000
    assert completed.peak_rss_bytes < PEAK_RSS_BYTES
    assert progress == sorted(progress)
    assert progress
    assert progress[-1] <= 603_000


async def test_limit_of_decoding_has_a_second_of_slack(sandbox: Sandbox, write: Write, open_fd: OpenFd, pcm_fd: int) -> None:
    descriptor = open_fd(write("wav", 3_000))
    assert (await decode(sandbox, descriptor, pcm_fd, 2_000)).samples == 48_000
    with pytest.raises(MediaTooLong):
        await decode(sandbox, descriptor, pcm_fd, 1_999)


@pytest.mark.parametrize("channels", [9, 32])
async def test_channels_without_a_known_place_are_mixed_evenly(sandbox: Sandbox, fd_of: FdOf, pcm_fd: int, channels: int) -> None:
    frames = np.zeros((32_000, channels), "<i2")
    frames[:, 4] = 3_200
    decoded = await decode(sandbox, fd_of(Head(channels=channels, align=2 * channels).wav(frames.tobytes())), pcm_fd, LIMIT_MS)
    audio = read_pcm(pcm_fd)
    assert decoded.samples == len(audio)
    assert abs(int(audio[len(audio) // 2]) - 3_200 // channels) <= 1


@pytest.mark.parametrize("data_bytes", [0, 0xFFFFFFFF])
async def test_wav_written_to_a_pipe_is_whole(sandbox: Sandbox, fd_of: FdOf, pcm_fd: int, data_bytes: int) -> None:
    decoded = await decode(sandbox, fd_of(Head(data_bytes=data_bytes).wav(bytes(16_000))), pcm_fd, LIMIT_MS)
    assert decoded == Decoded(8_000, 500, truncated=False)


async def test_file_that_breaks_off_within_its_first_second_is_refused(sandbox: Sandbox, fd_of: FdOf, pcm_fd: int) -> None:
    whole = Head(data_bytes=96_000)
    for read in (lambda fd: decode(sandbox, fd, pcm_fd, LIMIT_MS), lambda fd: probe(sandbox, fd, LIMIT_MS)):
        with pytest.raises(BrokenMedia):
            await read(fd_of(whole.wav(bytes(30_000))))
    assert (await decode(sandbox, fd_of(whole.wav(bytes(34_000))), pcm_fd, LIMIT_MS)).truncated
