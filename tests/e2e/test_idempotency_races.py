"""Two hundred submits at once: of one key they make one job, against credit for fifty they make fifty."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from faults.meshes import distributed_environment, s3_server
from faults.plans import plans_with
from faults.races import no_worker, write_clip
from tests.e2e.ledger import read_ledger
from tests.e2e.mesh import Mesh, running_mesh, wait_for
from tests.e2e.web import Web, running_web
from tests.servers import new_postgres_database, postgres_server

SUBMITS = 200
CREDIT_FOR = 50
CLIP_MS = 1200
pytestmark = pytest.mark.timeout(300)
Send = Callable[[httpx2.AsyncClient], Awaitable[httpx2.Response]]


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    """Where the URL of these tests leads to."""
    with running_web() as server:
        yield server


@pytest.fixture(scope="module", params=["embedded", "distributed"])
def minute_mesh(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Each kind of mesh in turn, its workspace with credit for one minute, that is for fifty clips."""
    folder = tmp_path_factory.mktemp("minute")
    if request.param == "embedded":
        with _minute_mesh(folder, {}) as mesh:
            yield mesh
        return
    with postgres_server() as server, s3_server() as s3_url:
        with _minute_mesh(folder, distributed_environment(new_postgres_database(server), s3_url)) as mesh:
            yield mesh


@contextmanager
def _minute_mesh(folder: Path, backends: Mapping[str, str]) -> Iterator[Mesh]:
    plans = folder / "plans.toml"
    plans.write_text(plans_with({"minute": 1}, default="minute"))
    environment = {
        "STENO_BILLING_PLANS_FILE": str(plans),
        "STENO_STORAGE_EGRESS_ALLOWED_NETWORKS": "127.0.0.0/8",
        "STENO_JOBS_EGRESS_ALLOWED_NETWORKS": "127.0.0.0/8",
    }
    with running_mesh(folder, {**environment, **backends}) as mesh:
        yield mesh


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1.2 s of silence."""
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.wav", CLIP_MS)


def at_once(mesh: Mesh, send: Send) -> list[httpx2.Response]:
    """The answers to the submits."""

    async def race() -> list[httpx2.Response]:
        limits = httpx2.Limits(max_connections=SUBMITS)
        headers = {"X-API-Key": mesh.ready["api_key"]}
        async with httpx2.AsyncClient(base_url=mesh.ready["url"], headers=headers, timeout=120, limits=limits, trust_env=False) as client:
            return await asyncio.gather(*(send(client) for _ in range(SUBMITS)))

    return asyncio.run(race())


def file_of(clip: Path, key: str) -> Send:
    headers = {"Idempotency-Key": key} if key else {}
    content = clip.read_bytes()
    return lambda client: client.post("/api/v1/transcribe", files={"file": (clip.name, content)}, headers=headers)


def json_of(path: str, body: dict[str, Any], key: str) -> Send:
    return lambda client: client.post(path, json=body, headers={"Idempotency-Key": key})


def assert_one_job(mesh: Mesh, answers: list[httpx2.Response], jobs_before: int) -> str:
    assert Counter(answer.status_code for answer in answers) == {202: 1, 200: SUBMITS - 1}
    replays = [answer for answer in answers if answer.status_code == 200]
    assert {answer.headers.get("x-idempotent-replay") for answer in replays} == {"true"}
    assert len(jobs_of(mesh)) == jobs_before + 1
    (job_id,) = {answer.json()["job_id"] for answer in answers}
    return str(job_id)


def jobs_of(mesh: Mesh) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = mesh.client.get("/api/v1/jobs", params={"limit": 100}).raise_for_status().json()
    return rows


def test_two_hundred_files_of_one_key_are_one_job_and_one_hold(minute_mesh: Mesh, clip: Path) -> None:
    before = len(jobs_of(minute_mesh))
    with no_worker(minute_mesh):
        job_id = assert_one_job(minute_mesh, at_once(minute_mesh, file_of(clip, "one-file")), before)
        ledger = read_ledger(minute_mesh)
        assert (ledger.open_holds, ledger.imbalance_ms) == (1, 0)
    assert minute_mesh.finished(job_id)["status"] == "done"
    wait_for(lambda: not read_ledger(minute_mesh).open_holds, 30, "the hold to be settled")
    wait_for(lambda: len(stored_clips(minute_mesh)) <= 1, 60, "the bytes of the replays to be gone")


def test_two_hundred_orders_of_one_url_and_key_are_one_job(minute_mesh: Mesh, clip: Path, web: Web) -> None:
    before = len(jobs_of(minute_mesh))
    body = {"url": web.publish(clip)}
    job_id = assert_one_job(minute_mesh, at_once(minute_mesh, json_of("/api/v1/transcribe/url", body, "one-url")), before)
    assert minute_mesh.finished(job_id)["status"] == "done"
    assert web.hits == [f"/{clip.name}"]
    web.hits.clear()
    wait_for(lambda: not read_ledger(minute_mesh).open_holds, 30, "the hold to be settled")


def test_two_hundred_announcements_of_one_key_are_one_job(minute_mesh: Mesh, clip: Path) -> None:
    before = len(jobs_of(minute_mesh))
    answers = at_once(minute_mesh, json_of("/api/v1/uploads/init", {"filename": clip.name}, "one-upload"))
    job_id = assert_one_job(minute_mesh, answers, before)
    assert minute_mesh.client.put(answers[-1].json()["upload_url"], content=clip.read_bytes()).status_code == 204
    assert minute_mesh.client.post(answers[-1].json()["complete_url"]).status_code == 202
    assert minute_mesh.finished(job_id)["status"] == "done"
    wait_for(lambda: not read_ledger(minute_mesh).open_holds, 30, "the hold to be settled")


def test_two_hundred_submits_against_credit_for_fifty_make_fifty_jobs(minute_mesh: Mesh, clip: Path) -> None:
    before = len(jobs_of(minute_mesh))
    with no_worker(minute_mesh):
        answers = at_once(minute_mesh, file_of(clip, ""))
        assert Counter(answer.status_code for answer in answers) == {202: CREDIT_FOR, 402: SUBMITS - CREDIT_FOR}
        for refused in (answer.json() for answer in answers if answer.status_code == 402):
            assert (refused["code"], refused["upgrade_url"]) == ("NO_CREDITS", "/api/v1/credits")
            assert 0 <= refused["credits"]["available_hours"] < refused["credits"]["required_hours"]
        ledger = read_ledger(minute_mesh)
        assert (ledger.open_holds, ledger.imbalance_ms, ledger.wrong_accounts) == (CREDIT_FOR, 0, 0)
        assert len(jobs_of(minute_mesh)) == before + CREDIT_FOR
        assert minute_mesh.client.get("/api/v1/credits").json()["available_hours"] == 0.0


def stored_clips(mesh: Mesh) -> list[Path]:
    """The clips that lie on this machine: one of one job, or none when blobs are in S3."""
    return [path for path in (mesh.data / "blobs").rglob("*") if path.is_file() and path.read_bytes().startswith(b"RIFF")]
