"""Accepting a job: CreateJob through jobs, billing and storage, beside the raw commit of the same three rows."""

import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

from bench import commits
from bench.benchmark import Effort
from bench.databases import Databases, postgres_databases, sqlite_databases
from bench.http import Ask, Load, load
from bench.mesh import Inside, open_inside, paused
from bench.report import Row, at_least, compared, interleaved, single
from bench.sound import write_silence
from bench.stock import copied
from services.jobs.app import SCHEMA
from services.jobs.store.keys import ClientKey
from services.jobs.usecases.intake import Intake, Order, open_intake
from services.mesh.database import open_database
from services.mesh.identity import Caller, CallerKind
from services.mesh.ids import new_id
from steno.jobs.v1.job_pb2 import Job, TranscriptionConfig
from steno.jobs.v1.jobs_service_pb2 import CreateJobRequest
from steno.storage.v1.media_pb2 import Media
from tests.e2e.mesh import running_mesh

_CLIENTS = (1, 16)
_TARGETS = {"SQLite": at_least(1.1), "Postgres": at_least(0.55)}
_CALLER = Caller(CallerKind.KEY, "gateway", new_id(), "workspace", new_id())
_RESERVE_SECONDS = 20.0
_MOST_SUBMITS_PER_SECOND = 1500


async def run(effort: Effort, folder: Path) -> Sequence[Row]:
    """Both databases, one after the other."""
    rows: list[Row] = []
    for open_databases in (sqlite_databases, postgres_databases):
        with open_databases(folder) as databases:
            rows += await _measured(databases, effort, folder / databases.kind)
    return rows


async def _measured(databases: Databases, effort: Effort, folder: Path) -> list[Row]:
    folder.mkdir()
    environment = {f"STENO_{service.upper()}_DATABASE_URL": databases.make(service) for service in ("billing", "storage", "jobs")}
    raw_url, store_url = databases.make("raw"), databases.make("store")
    await commits.prepare(raw_url)
    await commits.prepare(store_url)
    with running_mesh(folder, environment) as mesh, paused(mesh.child_pid("inference") or 0):
        async with open_inside(mesh) as inside, _store(store_url) as store:
            clip = write_silence(folder / "clip.wav")
            count = round(_MOST_SUBMITS_PER_SECOND * effort.seconds * (len(_CLIENTS) * effort.rounds + 1))
            create = _create(inside, await copied(environment["STENO_STORAGE_DATABASE_URL"], await inside.stored(clip), count))
            upload = await load(_client(partial(inside.stored, clip)), 1, effort.seconds)
            await load(create, 16, effort.seconds)
            contenders: dict[str, Callable[[], Awaitable[Load]]] = {}
            for clients in _CLIENTS:
                contenders[f"raw {clients}"] = partial(_raw, databases, raw_url, effort.seconds, clients)
                contenders[f"store {clients}"] = partial(load, store, clients, effort.seconds)
                contenders[f"create {clients}"] = partial(load, create, clients, effort.seconds)
            loads = await interleaved(effort.rounds, contenders)
    return [*_rows(databases.kind, loads), single(f"{databases.kind}: upload and commit of a tiny file, c=1, p50", "ms", [upload.p50])]


def _rows(kind: str, loads: Mapping[str, list[Load]]) -> list[Row]:
    rows = []
    for clients in _CLIENTS:
        raw = [one.rate for one in loads[f"raw {clients}"]]
        for name, what in (("store", "jobs' commit path alone"), ("create", "CreateJob, all services")):
            target = _TARGETS[kind] if clients == max(_CLIENTS) else None
            rates = [one.rate for one in loads[f"{name} {clients}"]]
            rows.append(compared(f"{kind}: {what}, c={clients}", "/s", rates, raw, target))
        created = loads[f"create {clients}"]
        rows.append(single(f"{kind}: CreateJob, c={clients}, p50", "ms", [one.p50 for one in created]))
        rows.append(single(f"{kind}: CreateJob, c={clients}, p99", "ms", [one.p99 for one in created]))
    return rows


async def _raw(databases: Databases, url: str, seconds: float, clients: int) -> Load:
    rate = await databases.raw_rate(url, seconds, clients)
    return Load(rate, 1000 / rate, 1000 / rate)


def _client(ask: Ask) -> Callable[[], AbstractAsyncContextManager[Ask]]:
    """Clients that share what they ask with."""

    @asynccontextmanager
    async def client() -> AsyncIterator[Ask]:
        yield ask

    return client


def _create(inside: Inside, media_ids: deque[str]) -> Callable[[], AbstractAsyncContextManager[Ask]]:
    config = TranscriptionConfig(language="en")

    async def create() -> None:
        request = CreateJobRequest(media_id=media_ids.popleft(), source=Job.SOURCE_API, config=config, idempotency_key=new_id())
        answer = await inside.jobs.CreateJob(request)
        assert not answer.replayed

    return _client(create)


@asynccontextmanager
async def _store(url: str) -> AsyncIterator[Callable[[], AbstractAsyncContextManager[Ask]]]:
    """What jobs does with an order once its hold is taken, in this process and without the other services."""
    async with open_database(url, schema=SCHEMA) as database, open_intake(database, _RESERVE_SECONDS) as intake:
        yield _client(partial(_keep, intake))


async def _keep(intake: Intake) -> None:
    media = Media(id=new_id(), filename="clip.wav", sha256="5e" * 32)
    media.probe.duration_ms = 1000
    key = ClientKey(_CALLER.workspace_id, _CALLER.key_id, new_id())
    order = Order(new_id(), _CALLER, key, "5e" * 32, TranscriptionConfig(language="en"), Job.SOURCE_API, media, time.monotonic())
    assert isinstance(await intake.store(order), Job)
