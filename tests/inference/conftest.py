"""The sample recordings as arrays, and the models that hear them, loaded once a session."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
import pytest_asyncio

from services.inference.diarization.spans import embedding_blocks, embedding_spans, encoder_gain
from services.inference.engines.local import LocalEngine, open_local_engine
from services.inference.models.speaker import load_speaker_encoder
from services.inference.models.vad import SileroVad, load_vad
from services.inference.models.vad_state import VadState, gain_for
from services.inference.pcm import SAMPLE_RATE_HZ, Floats, Pcm, cut, duration_ms, level_dbfs, loud_level_dbfs
from services.inference.windows import Region, find_regions

if TYPE_CHECKING:
    from tests.inference.stage import House, Stage

SAMPLES = Path(__file__).parents[2] / "samples"


def decode(path: Path) -> Pcm:
    """A recording as 16 kHz mono int16."""
    pieces: list[Pcm] = [np.zeros(0, np.int16)]
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
        for frame in [*container.decode(audio=0), None]:
            pieces.extend(np.asarray(part.to_ndarray()[0], np.int16) for part in resampler.resample(frame))
    return np.concatenate(pieces)


@dataclass(frozen=True)
class Heard:
    """A recording with what the speech models say about it."""

    pcm: Pcm
    probabilities: Floats
    regions: list[Region]
    spans: list[Region]
    embeddings: Floats


@pytest.fixture(scope="session")
def vad() -> SileroVad:
    """The bundled voice activity model."""
    return load_vad()


@pytest.fixture(scope="session")
def clip() -> Callable[[str], Pcm]:
    """Decodes a file of samples/clips."""
    return lambda name: decode(SAMPLES / "clips" / name)


@pytest.fixture(scope="session")
def meeting_reference() -> dict[str, Any]:
    """Turns and words of the meeting."""
    reference: dict[str, Any] = json.loads((SAMPLES / "meeting.json").read_text())
    return reference


@pytest.fixture(scope="session")
def meeting(vad: SileroVad) -> Heard:
    """The meeting of three voices."""
    pcm = decode(SAMPLES / "meeting.flac")
    probabilities, _ = vad.speech_probabilities(pcm, VadState(gain=gain_for(loud_level_dbfs(pcm))))
    regions = find_regions(probabilities, duration_ms(pcm))
    spans = embedding_spans(regions, duration_ms(pcm))
    gain = encoder_gain(level_dbfs(np.concatenate([cut(pcm, r.start_ms, r.end_ms) for r in regions])))
    encoder = load_speaker_encoder()
    rows = [encoder.embed(cut(pcm, block.start_ms, block.end_ms), block.spans, gain) for block in embedding_blocks(spans)]
    return Heard(pcm, probabilities, regions, spans, np.concatenate(rows))


@pytest.fixture
async def engine() -> AsyncIterator[LocalEngine]:
    """The local engine over two processes."""
    async with open_local_engine(workers=2) as opened:
        yield opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator["House"]:
    """The engine, the sandbox and nats-server of the tests of work."""
    from tests.inference.stage import open_house

    async with open_house(tmp_path_factory.mktemp("nats")) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def stage(house: "House", tmp_path: Path) -> AsyncIterator["Stage"]:
    """Fresh peers and a workbench."""
    from tests.inference.stage import open_stage

    async with open_stage(house, tmp_path) as opened:
        yield opened
