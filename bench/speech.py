"""What the test Whisper understands, and a mesh whose Triton runs it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from services.inference.pcm import SAMPLE_RATE_HZ, Pcm
from services.stack.triton.interpreter import VARIABLE
from tests.e2e.mesh import SAMPLES, Mesh, running_mesh
from tests.triton_server import interpreter
from tools.speech.audio import read_audio, write_audio

MEETING = SAMPLES / "whisper-meeting.ogg"
MEETING_SECONDS = float(json.loads(MEETING.with_suffix(".json").read_text())["duration"])


@contextmanager
def mesh_on_triton(folder: Path) -> Iterator[Mesh]:
    """`steno up --engine triton` until left."""
    environment = {VARIABLE: str(interpreter().executable.parent.parent)}
    with running_mesh(folder, environment, engine="triton") as mesh:
        yield mesh


def long_meeting(path: Path, seconds: float) -> tuple[Path, Pcm]:
    """The meeting again and again until it is so long; the file and its samples."""
    samples = np.resize(read_audio(MEETING), int(seconds * SAMPLE_RATE_HZ))
    write_audio(path, samples, "flac")
    return path, samples
