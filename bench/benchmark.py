"""What a benchmark is: a name, a sentence, and a run that returns rows."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.report import Row


@dataclass(frozen=True)
class Effort:
    """How much a run does. seconds: length of one measurement of a rate. speech_seconds: length of a long recording.

    sizes: of Whisper, names of `bench.asr.checkpoint.SIZES`. device: cpu or cuda.
    """

    rounds: int
    seconds: float
    upload_bytes: int
    speech_seconds: float
    sizes: Sequence[str] = ("tiny", "base")
    device: str = "cpu"


LONG = Effort(rounds=5, seconds=3.0, upload_bytes=512 * 1024 * 1024, speech_seconds=600.0)
SHORT = Effort(rounds=2, seconds=1.0, upload_bytes=64 * 1024 * 1024, speech_seconds=150.0)

Run = Callable[[Effort, Path], Awaitable[Sequence[Row]]]


@dataclass(frozen=True)
class Benchmark:
    """One benchmark. run: gets the effort and an empty folder of its own."""

    name: str
    summary: str
    run: Run
