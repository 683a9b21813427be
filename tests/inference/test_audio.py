"""Media becomes samples of exactly its length, and whatever goes wrong is blamed on who caused it."""

import asyncio
import errno
import tempfile
from pathlib import Path

import httpx2
import numpy as np
import pytest

from services.inference import audio as audio_module
from services.inference.audio import Audio, open_audio
from services.inference.domain import MediaUnprocessable
from services.inference.failures import failure_of
from services.media.sandbox import open_sandbox
from services.mesh.errors import ServiceUnavailable
from tests.inference.conftest import decode
from tests.inference.stage import HELLO, LONGEST_MS, TWO_VOICES, Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")
HELLO_MS = 3775


async def opened(stage: Stage, body: bytes, limit_ms: int = LONGEST_MS) -> Audio:
    """What was decoded, copied out of the scratch file."""
    url = stage.storage.plane.url(f"/media/{stage.storage.add_media(body)}")
    async with open_audio(stage.bench.client, url, stage.bench.sandbox, stage.bench.scratch, limit_ms) as audio:
        return Audio(audio.copy(0, audio.duration_ms), audio.duration_ms, audio.truncated)


async def test_samples_are_those_of_the_file(stage: Stage) -> None:
    audio = await opened(stage, HELLO.read_bytes())
    assert (audio.duration_ms, audio.truncated) == (HELLO_MS, False)
    assert np.array_equal(audio.samples, decode(HELLO))


async def test_samples_are_let_go_with_the_context(stage: Stage) -> None:
    url = stage.storage.plane.url(f"/media/{stage.storage.add_media(HELLO.read_bytes())}")
    done: list[int] = []
    async with open_audio(stage.bench.client, url, stage.bench.sandbox, stage.bench.scratch, LONGEST_MS, done.append) as audio:
        assert len(audio.copy(1000, 2000)) == 16_000
        assert isinstance(audio.samples, np.memmap)
    assert len(audio.samples) == 0
    assert str(stage.bench.scratch) not in Path("/proc/self/maps").read_text()


async def test_audio_longer_than_the_limit_is_refused(stage: Stage) -> None:
    body = TWO_VOICES.read_bytes()
    with pytest.raises(MediaUnprocessable, match="longer"):
        await opened(stage, body, limit_ms=5_000)
    assert (await opened(stage, body, limit_ms=9_765)).duration_ms == 9_765


@pytest.mark.parametrize("status", [404, 410])
async def test_bytes_that_are_gone_are_the_medias_fault(stage: Stage, status: int) -> None:
    stage.storage.plane.status = status
    with pytest.raises(MediaUnprocessable, match="no longer stored"):
        await opened(stage, HELLO.read_bytes())


async def test_download_that_breaks_off_is_not_the_medias_fault(stage: Stage) -> None:
    stage.storage.plane.cut = True
    with pytest.raises(httpx2.HTTPError) as broken:
        await opened(stage, HELLO.read_bytes())
    assert failure_of(broken.value) is None


async def test_download_that_drips_ends(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_module, "_FETCH_START_SECONDS", 0.2)
    stage.storage.plane.drip = True
    async with asyncio.timeout(60):
        with pytest.raises(TimeoutError) as late:
            await opened(stage, HELLO.read_bytes())
    assert failure_of(late.value) is None


async def test_full_disk_in_the_decoder_is_not_the_medias_fault(stage: Stage) -> None:
    with HELLO.open("rb") as source, Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(OSError, match="full") as refused:
        await audio_module._decode(stage.bench.sandbox, source, full, LONGEST_MS, None)
    assert refused.value.errno == errno.ENOSPC
    assert failure_of(refused.value) is None


async def test_lost_sandbox_is_not_the_medias_fault(tmp_path: Path) -> None:
    async with open_sandbox(concurrency=1) as sandbox:
        assert sandbox.server is not None
        with HELLO.open("rb") as source, tempfile.TemporaryFile(dir=tmp_path) as target:
            decoding = asyncio.create_task(audio_module._decode(sandbox, source, target, LONGEST_MS, None), name="decode")
            await asyncio.to_thread(sandbox.server.stop)
            with pytest.raises(ServiceUnavailable) as lost:
                await decoding
    assert failure_of(lost.value) is None
