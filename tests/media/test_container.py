"""libav itself is told to open nothing but the bytes it was given, sandbox or not."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import av
import pytest

from services.media.container import open_source
from services.media.descriptor import DescriptorReader
from services.media.errors import UnsupportedMedia

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Lures(Protocol):
    """Texts that make an unprotected libav open other things, and the calls that came in."""

    texts: list[bytes]
    hits: list[object]


def open_and_close(descriptor: int) -> None:
    """Open the media in this process, without a sandbox."""
    with open_source(DescriptorReader(descriptor)):
        pass


async def test_playlists_are_refused_without_the_help_of_the_sandbox(
    fd_of: Callable[[bytes], int], lures: Lures, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for text in lures.texts:
        with pytest.raises(UnsupportedMedia):
            await asyncio.to_thread(open_and_close, fd_of(text))
    assert lures.hits == []


async def test_the_lures_work_on_an_unprotected_libav(lures: Lures, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    concat = tmp_path / "recording.mp3"
    concat.write_bytes(lures.texts[0])
    with av.open(str(concat)) as container:
        assert container.streams.audio[0].codec_context.name == "pcm_s16le"


async def test_only_the_audio_stream_is_read(write: Callable[..., Path], open_fd: Callable[[Path], int]) -> None:
    with open_source(DescriptorReader(open_fd(write("mp4_video", 1_500)))) as source:
        streams = {packet.stream.type for packet in source.packets()}
    assert streams == {"audio"}
