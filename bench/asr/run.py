"""The figures: encoder per window, decoder per step, whole windows and memory, at several batch sizes."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

from bench.asr.checkpoint import SIZES, write_checkpoint
from bench.benchmark import Effort
from bench.report import Row, compared, interleaved, single
from services.inference.models.whisper.export.export import export_whisper
from services.inference.models.whisper.precision import Precision

BATCHES = (1, 4, 8)
TOKENS = 33
WINDOW_SECONDS = 30.0
ANSWER_SECONDS = 300.0
END_SECONDS = 10.0
FIGURES = {"encode": "ms", "step": "ms", "window": "ms", "bytes": "MB"}
PAIRS = (
    ("ours int8", "ctranslate2 int8"),
    ("ours fp32", "ctranslate2 float32"),
    ("ours fp32", "transformers float32"),
    ("ours int8", "transformers float32"),
    ("ours fp16", "ctranslate2 float16"),
    ("ours fp16", "transformers float16"),
)
NAMES = {"encode": "encoder per window", "step": "decoder per step", "window": f"a window of {TOKENS} tokens", "bytes": "memory"}
UNITS = {"ms": 1e3, "MB": 1e-6}


async def run(effort: Effort, folder: Path) -> Sequence[Row]:
    """Every size that was asked for; two rounds when short. transformers and CTranslate2 take part where they are installed."""
    rows: list[Row] = []
    for name in effort.sizes:
        model = await asyncio.to_thread(_prepare, folder / name, name, effort.device)
        async with AsyncExitStack() as stack:
            asked = {label: await stack.enter_async_context(_contender(model, label, effort.device)) for label in _labels(effort.device)}
            for batch in BATCHES:
                answers = await interleaved(effort.rounds, {label: one.at(batch) for label, one in asked.items()})
                rows += _rows(f"{name}, batch {batch}", answers)
    return rows


def _labels(device: str) -> list[str]:
    if device == "cuda":
        return [
            "ours fp16",
            *(f"{name} float16" for name in ("transformers", "ctranslate2") if find_spec("transformers") and find_spec(name)),
        ]
    labels = ["ours int8", "ours fp32"]
    if find_spec("transformers") and find_spec("torch"):
        labels.append("transformers float32")
        if find_spec("ctranslate2"):
            labels += ["ctranslate2 int8", "ctranslate2 float32"]
    return labels


def _prepare(folder: Path, name: str, device: str) -> Path:
    write_checkpoint(folder, SIZES[name])
    for precision in (Precision.FP16,) if device == "cuda" else (Precision.INT8, Precision.FP32):
        export_whisper(folder, precision)
    if find_spec("ctranslate2") and find_spec("transformers"):
        from ctranslate2.converters import TransformersConverter

        TransformersConverter(str(folder)).convert(str(folder / "ctranslate2"))
    return folder


class Asked:
    """A contender's process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def at(self, batch: int) -> "Question":
        """What to ask each round."""
        return Question(self, batch)

    async def ask(self, batch: int) -> dict[str, float]:
        """One round's seconds and bytes. Raises TimeoutError, RuntimeError when the process ended."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"rows": batch, "tokens": TOKENS}).encode() + b"\n")
        async with asyncio.timeout(ANSWER_SECONDS):
            await stdin.drain()
            line = await stdout.readline()
        if not line:
            raise RuntimeError("a contender ended; see its messages above")
        answer: dict[str, float] = json.loads(line)
        return answer


class Question:
    """A contender at one batch size."""

    def __init__(self, asked: Asked, batch: int) -> None:
        self._asked, self._batch = asked, batch

    async def __call__(self) -> dict[str, float]:
        return await self._asked.ask(self._batch)


@asynccontextmanager
async def _contender(model: Path, label: str, device: str) -> AsyncIterator[Asked]:
    """Warmed up by one round."""
    command = (sys.executable, "-m", "bench.asr.process", *label.split(), str(model), device)
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    try:
        asked = Asked(process)
        await asked.ask(1)
        yield asked
    finally:
        if process.returncode is None:
            process.kill()
        async with asyncio.timeout(END_SECONDS):
            await process.communicate()


def _rows(title: str, answers: dict[str, list[dict[str, float]]]) -> list[Row]:
    """Each precision of ours beside each other contender."""
    rows = []
    for figure, unit in FIGURES.items():
        values = {label: [answer[figure] * UNITS[unit] for answer in found] for label, found in answers.items()}
        pairs = [(subject, baseline) for subject, baseline in PAIRS if subject in values and baseline in values]
        for subject, baseline in pairs:
            rows.append(compared(f"{title}: {NAMES[figure]}, {subject} : {baseline}", unit, values[subject], values[baseline]))
        alone = values.keys() - {label for pair in pairs for label in pair}
        rows += [single(f"{title}: {NAMES[figure]}, {subject}", unit, values[subject]) for subject in sorted(alone)]
    speeds = {label: [WINDOW_SECONDS / answer["window"] for answer in found] for label, found in answers.items()}
    return [*rows, *(single(f"{title}: times real time, {label}", "", found) for label, found in speeds.items())]
