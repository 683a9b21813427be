"""A second of silence from submit to done, beside the same decoding and speech detection without the platform."""

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import numpy as np

from bench.benchmark import Effort
from bench.http import Address, Ask, Client, Load, connect, expect, load, request
from bench.report import Row, compared, interleaved, no_more_than, single
from bench.sound import write_silence
from bench.transfer import form_message
from services.inference.audio import Audio
from services.inference.engines.local import open_local_engine
from services.inference.pipeline import Order, Pipeline, Reports, SpeechFloor
from services.inference.scheduling import Party, WindowScheduler
from services.media.decode import decode
from services.media.sandbox import Sandbox, open_sandbox
from services.mesh.telemetry import get_logger
from steno.inference.v1.window_transcript_pb2 import WindowTranscript
from steno.jobs.v1.job_pb2 import TranscriptionConfig
from tests.e2e.mesh import Mesh, running_mesh

_CLIENTS = (1, 8)
_LONGEST_MS = 60_000
_FLOOR = SpeechFloor(0.05, 0.5)
_JOB_SECONDS = 60.0
_ORDER = Order(TranscriptionConfig(), Party("bench", "bench"))
_DONE = b"event: done"


async def run(effort: Effort, folder: Path) -> Sequence[Row]:
    """Jobs per second and submit to done, at one client and at eight."""
    clip = write_silence(folder / "clip.wav")
    with running_mesh(folder) as mesh:
        async with open_sandbox() as sandbox, open_local_engine(os.cpu_count() or 1) as engine:
            scheduler = WindowScheduler(lambda: engine.windows_in_flight)
            alone = Pipeline(engine, _FLOOR, scheduler, get_logger("bench.lifecycle"))
            subject, baseline = _following(mesh, clip), _working(alone, sandbox, clip)
            await load(subject, 2, effort.seconds)
            await load(baseline, 2, effort.seconds)
            contenders = {
                f"{name} {clients}": partial(load, client, clients, effort.seconds)
                for clients in _CLIENTS
                for name, client in (("job", subject), ("work", baseline))
            }
            loads = await interleaved(effort.rounds, contenders)
    return [row for clients in _CLIENTS for row in _rows(clients, loads[f"job {clients}"], loads[f"work {clients}"])]


def _rows(clients: int, jobs: list[Load], work: list[Load]) -> list[Row]:
    added_p50 = [job.p50 - alone.p50 for job, alone in zip(jobs, work, strict=True)]
    added_p99 = [job.p99 - alone.p99 for job, alone in zip(jobs, work, strict=True)]
    return [
        compared(f"no-speech jobs, {clients} clients : the work alone", "/s", [job.rate for job in jobs], [alone.rate for alone in work]),
        compared(f"submit to done, {clients} clients, p50", "ms", [job.p50 for job in jobs], [alone.p50 for alone in work]),
        compared(f"submit to done, {clients} clients, p99", "ms", [job.p99 for job in jobs], [alone.p99 for alone in work]),
        single(f"what the platform adds, {clients} clients, p50", "ms", added_p50, no_more_than(6) if clients == 1 else None),
        single(f"what the platform adds, {clients} clients, p99", "ms", added_p99, no_more_than(12) if clients == 1 else None),
    ]


def _following(mesh: Mesh, clip: Path) -> Client:
    """Clients that submit, follow the job's events to its end, and submit again."""
    address, api_key = Address.of(mesh.ready["url"]), mesh.ready["api_key"]
    body, content_type = form_message(clip)
    submit = request("POST", "/api/v1/transcribe", api_key=api_key, body=body, content_type=content_type)

    @asynccontextmanager
    async def client() -> AsyncIterator[Ask]:
        async with connect(address) as connection:

            async def one() -> None:
                job_id = json.loads(await expect(connection, submit, 202))["job_id"]
                await _until_done(address, request("GET", f"/api/v1/jobs/{job_id}/events", api_key=api_key))

            yield one

    return client


async def _until_done(address: Address, message: bytes) -> None:
    """Raises IncompleteReadError when the job ends otherwise."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(message)
        async with asyncio.timeout(_JOB_SECONDS):
            await reader.readuntil(_DONE)
    finally:
        writer.close()


def _working(pipeline: Pipeline, sandbox: Sandbox, clip: Path) -> Client:
    @asynccontextmanager
    async def client() -> AsyncIterator[Ask]:
        yield partial(_work, pipeline, sandbox, clip)

    return client


async def _work(pipeline: Pipeline, sandbox: Sandbox, clip: Path) -> None:
    with clip.open("rb") as source, tempfile.TemporaryFile(dir=clip.parent) as pcm:
        decoded = await decode(sandbox, source.fileno(), pcm.fileno(), _LONGEST_MS)
        samples = np.memmap(pcm, dtype="<i2", mode="r", shape=(decoded.samples,))
        audio = Audio(samples, decoded.duration_ms, decoded.truncated)
        transcript = await pipeline.transcribe(audio, _ORDER, {}, _SILENT)
    assert not transcript.speech_detected


async def _put_window(index: int, window: WindowTranscript, progress: float) -> None:
    raise AssertionError("silence has no windows")


async def _hear_nothing(detected: bool, ratio: float) -> None:
    assert not detected


_SILENT = Reports(speech=_hear_nothing, window=_put_window, progress=lambda progress: None)
