"""Hostile HTTP on raw sockets, at the gateway and at storage's own listener."""

import asyncio
import io
import random
import time
import wave
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import psutil

from faults.campaign import Figure, Options
from faults.corpora.http import refused_upload
from faults.corpora.http.corpus import corpus
from faults.corpora.http.exchange import exchange, made_job, problems
from faults.corpora.http.vector import Door, Target, Vector
from faults.edge_mesh import Memory, gateway_port, new_key, pid_of, pids, revoke, storage_port, unhurried_mesh
from tests.e2e.mesh import SAMPLES, Mesh

_MAX_UPLOAD_BYTES = 64 * 1024**2
_SLOT_BYTES = 1024**2
_MEMORY_MB = 16
_LEAST_VECTORS = 60
_UNREAD_BYTES = 1_000_000
_LONG_ROUNDS = 10
_DOORS = ("gateway", "storage")
# Pools of threads and connections, filled once.
_DESCRIPTORS = 16
_LINGERED_SECONDS = 10.0
_SAMPLE = SAMPLES / "clips" / "hello.flac"
_ROOT = "/api"


def run(options: Options) -> Sequence[Figure]:
    """Every vector once, or in the long form ten times, in an order of the seed's."""
    with unhurried_mesh(options.folder, {"STENO_GATEWAY_MAX_UPLOAD_BYTES": str(_MAX_UPLOAD_BYTES)}) as mesh:
        vectors = list(corpus(_target(mesh)))
        ports: Mapping[Door, int] = {"gateway": gateway_port(mesh), "storage": storage_port(mesh)}
        processes, memory = pids(mesh), {name: Memory.of(pid_of(mesh, name)) for name in _DOORS}
        descriptors = {name: _descriptors(mesh, name) for name in _DOORS}
        wrong = _run_rounds(mesh, ports, random.Random(options.seed), options.amount(1, _LONG_ROUNDS))
        refused = refused_upload.upload(ports["gateway"])
        deaths = sum(pid != processes[name] for name, pid in pids(mesh).items())
        return [
            Figure("vectors", len(vectors), at_least=_LEAST_VECTORS),
            Figure("vectors answered as expected", len(vectors) - len(wrong), at_least=len(vectors)),
            Figure("processes that died", deaths, at_most=0),
            *(Figure(f"growth of {name}", found.growth_mb, at_most=_MEMORY_MB, unit="MiB") for name, found in memory.items()),
            *(Figure(f"highest growth of {name}", found.peak_growth_mb, unit="MiB") for name, found in memory.items()),
            *(
                Figure(f"descriptors that {name} kept", _kept(mesh, name, before), at_most=_DESCRIPTORS)
                for name, before in descriptors.items()
            ),
            Figure("status of 10 GB with an unknown key", refused.status, at_least=401, at_most=401),
            Figure("bytes read of them", refused.read_bytes, at_most=_UNREAD_BYTES, unit="bytes"),
            Figure("answered after", refused.answer_seconds * 1000, unit="ms"),
        ]


def _descriptors(mesh: Mesh, service: str) -> int:
    return psutil.Process(pid_of(mesh, service)).num_fds()


def _kept(mesh: Mesh, service: str, before: int) -> int:
    """How many more it has than before, once what lingers has had its time."""
    until = time.monotonic() + _LINGERED_SECONDS
    while (kept := _descriptors(mesh, service) - before) > _DESCRIPTORS and time.monotonic() < until:
        time.sleep(0.1)
    return kept


def _run_rounds(mesh: Mesh, ports: Mapping[Door, int], chance: random.Random, rounds: int) -> set[str]:
    """The names of vectors that were not answered as expected, each printed with what was wrong."""
    wrong = set[str]()
    for _ in range(rounds):
        # Signed URLs end: every round has its own.
        vectors = list(corpus(_target(mesh)))
        for vector in chance.sample(vectors, len(vectors)):
            for problem in asyncio.run(_problems(mesh, vector, ports[vector.door])):
                print(f"   {vector.door} {vector.name[:60]}: {problem}", flush=True)
                wrong.add(f"{vector.door} {vector.name}")
    return wrong


async def _problems(mesh: Mesh, vector: Vector, port: int) -> Sequence[str]:
    try:
        raw = await exchange(port, vector)
    except TimeoutError:
        return ["the connection stays open"]
    found = list(problems(vector, raw))
    made = None if found else made_job(vector, raw)
    if made is not None:
        row = mesh.job(made[0])
        found += [f"{name} is {row[name]!r} instead of {value!r}" for name, value in made[1].items() if row[name] != value]
    return found


def _target(mesh: Mesh) -> Target:
    """A mesh with one of everything that a vector aims at."""
    done = mesh.submitted(_SAMPLE)
    row = mesh.finished(done)
    assert row["status"] == "done", row
    revoked_id, revoked = new_key(mesh, "revoked")
    revoke(mesh, revoked_id, revoked)
    playback = urlsplit(mesh.client.get(f"/api/v1/jobs/{done}/audio/url").raise_for_status().json()["url"])
    asked = {"filename": "a.wav", "size_bytes": _SLOT_BYTES}
    slot = mesh.client.post("/api/v1/uploads/init", json=asked).raise_for_status().json()
    upload = urlsplit(slot["upload_url"])
    return Target(
        key=mesh.ready["api_key"],
        read_key=new_key(mesh, "reader", "read")[1],
        revoked_key=revoked,
        waiting_job=slot["job_id"],
        done_job=done,
        playback=f"{_ROOT}{playback.path}?{playback.query}",
        upload=f"{upload.path}?{upload.query}",
        blob=f"/media/{playback.path.rpartition('/')[2]}?{playback.query}",
        slot=f"/media/{upload.path.rpartition('/')[2]}?{upload.query}",
        audio=_silence(),
        max_upload_bytes=_MAX_UPLOAD_BYTES,
    )


def _silence() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(bytes(16_000))
    return file.getvalue()
