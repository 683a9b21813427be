"""Audio made by code, and a sandbox to read it in."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
import pytest_asyncio
from av.container import OutputContainer
from numpy.typing import NDArray

from services.media.sandbox import Sandbox, open_sandbox

FRAME_SAMPLES = 8192
VIDEO_RATE = 5


@dataclass(frozen=True)
class Form:
    """How a test file is written."""

    suffix: str
    encoder: str
    sample_rate_hz: int = 44_100
    channels: int = 2
    video: bool = False


FORMS = {
    "wav": Form("wav", "pcm_s16le"),
    "wav_8k_mono": Form("wav", "pcm_mulaw", 8_000, 1),
    "wav_96k": Form("wav", "pcm_s24le", 96_000),
    "mp3": Form("mp3", "libmp3lame"),
    "mp3_16k_mono": Form("mp3", "libmp3lame", 16_000, 1),
    "m4a": Form("m4a", "aac"),
    "mov": Form("mov", "aac", 48_000, 1),
    "mp4_video": Form("mp4", "aac", video=True),
    "ogg_opus": Form("ogg", "libopus", 48_000),
    "ogg_vorbis": Form("ogg", "vorbis", 44_100),
    "flac": Form("flac", "flac", 22_050, 1),
    "webm": Form("webm", "libopus", 48_000, 1),
    "webm_video": Form("webm", "libopus", 48_000, 1, video=True),
    "video_only": Form("mp4", "", video=True),
    "adts": Form("aac", "aac"),
}

Write = Callable[..., Path]


def tone(start: int, samples: int, sample_rate_hz: int) -> NDArray[np.int16]:
    """(samples,) of a 440 Hz sine at a quarter of full scale."""
    time = np.arange(start, start + samples) / sample_rate_hz
    return (np.sin(2 * np.pi * 440 * time) * 8_000).astype(np.int16)


def write_media(path: Path, form: Form, duration_ms: int, silent: bool = False) -> Path:
    """Encode a tone, or silence, of this length, with pictures where the form has them."""
    with av.open(str(path), "w") as container:
        audio = add_audio(container, form) if form.encoder else None
        if form.video:
            write_video(container, duration_ms)
        if audio is not None:
            for frame in audio_frames(form, audio.layout.name, duration_ms, silent):
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return path


def add_audio(container: OutputContainer, form: Form) -> av.AudioStream:
    """The audio stream of the form."""
    audio = container.add_stream(form.encoder, rate=form.sample_rate_hz, options={"strict": "experimental"})
    assert isinstance(audio, av.AudioStream)
    audio.layout = "mono" if form.channels == 1 else "stereo"
    return audio


def audio_frames(form: Form, layout: str, duration_ms: int, silent: bool) -> Iterator[av.AudioFrame]:
    """Interleaved int16 frames."""
    total = form.sample_rate_hz * duration_ms // 1000
    for start in range(0, total, FRAME_SAMPLES):
        mono = tone(start, min(FRAME_SAMPLES, total - start), form.sample_rate_hz) * (0 if silent else 1)
        frame = av.AudioFrame.from_ndarray(np.repeat(mono, form.channels)[None], format="s16", layout=layout)
        frame.sample_rate, frame.pts = form.sample_rate_hz, start
        yield frame


def write_video(container: OutputContainer, duration_ms: int) -> None:
    """A few small grey pictures, first in the file."""
    encoder = "vp8" if container.format.name == "webm" else "libx264"
    video = container.add_stream(encoder, rate=VIDEO_RATE, width=64, height=48, pix_fmt="yuv420p")
    assert isinstance(video, av.VideoStream)
    for number in range(duration_ms * VIDEO_RATE // 1000):
        picture = av.VideoFrame.from_ndarray(np.full((72, 64), number * 7 % 255, np.uint8), format="yuv420p")
        picture.pts = number
        container.mux(video.encode(picture))
    container.mux(video.encode(None))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a form's audio to a file and returns its path."""

    def write_form(name: str, duration_ms: int, **options: bool) -> Path:
        return write_media(tmp_path / f"{name}.{FORMS[name].suffix}", FORMS[name], duration_ms, **options)

    return write_form


@pytest.fixture
def open_fd() -> Iterator[Callable[[Path], int]]:
    """Opens files to read, and closes them at the end."""
    with contextlib.ExitStack() as stack:

        def open_path(path: Path) -> int:
            descriptor = os.open(path, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            return descriptor

        yield open_path


@pytest.fixture
def fd_of(tmp_path: Path, open_fd: Callable[[Path], int]) -> Callable[[bytes], int]:
    """A descriptor of a file with these bytes."""

    def write_bytes(data: bytes) -> int:
        path = tmp_path / f"bytes-{len(list(tmp_path.iterdir()))}"
        path.write_bytes(data)
        return open_fd(path)

    return write_bytes


@pytest.fixture
def pcm_fd(tmp_path: Path) -> Iterator[int]:
    """A file to write PCM to."""
    descriptor = os.open(tmp_path / "pcm", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    yield descriptor
    os.close(descriptor)


@dataclass(frozen=True)
class Lures:
    """Texts that make an unprotected libav read a sibling file or call a port, and the calls that came in."""

    texts: list[bytes]
    hits: list[object]


@pytest_asyncio.fixture(loop_scope="module")
async def lures(write: Write) -> AsyncIterator[Lures]:
    """Playlists and session files that point at a real sibling and a real listener."""
    hits: list[object] = []
    listener = await asyncio.start_server(lambda *ends: hits.append(ends), "127.0.0.1", 0)
    async with listener:
        texts = lure_texts(write("wav", 1_500), listener.sockets[0].getsockname()[1])
        yield Lures([text.encode() for text in texts], hits)


def lure_texts(sibling: Path, port: int) -> list[str]:
    """ffconcat, HLS, SDP and DASH."""
    address = f"http://127.0.0.1:{port}/segment.ts"
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n"
    targets = (address, sibling.as_uri(), str(sibling), sibling.name, f"concat:{sibling}|{address}")
    return [
        f"ffconcat version 1.0\nfile {sibling.name}\n",
        f"ffconcat version 1.0\nfile '{sibling}'\n",
        *(playlist.format(target) for target in targets),
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n",
        f'<?xml version="1.0"?><MPD type="static"><Period><AdaptationSet><BaseURL>{address}</BaseURL>'
        '<Representation id="1"/></AdaptationSet></Period></MPD>',
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    """A warm sandbox, whose children can also run `hostile_tasks`. Tests that use it share the module's event loop."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        async with open_sandbox() as opened:
            yield opened
