"""Any process may die at any moment: every accepted job ends done, charged once."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from faults.meshes import distributed_mesh
from tests.e2e.ledger import read_ledger
from tests.e2e.mesh import SAMPLES, Mesh, running_mesh, wait_for

HELLO = SAMPLES / "clips" / "hello.flac"
LONGER = SAMPLES / "clips" / "two_voices.ogg"
VICTIMS = ("billing", "storage", "jobs", "inference", "gateway", "nats")
JOBS = {"short": 10, "long": 30}
MESHES = {"embedded": running_mesh, "distributed": distributed_mesh}
SEED = 20


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The long run kills on both kinds of mesh, the short one on the embedded."""
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", list(MESHES) if metafunc.config.getoption("--faults") == "long" else ["embedded"])


@contextmanager
def killing(mesh: Mesh, seed: int) -> Iterator[list[str]]:
    """Within, a process of the mesh is killed every other second; yields who was."""
    chance, over, killed = random.Random(seed), threading.Event(), []

    def kill() -> None:
        while not over.wait(chance.uniform(0.5, 6.0)):
            victim = chance.choice(VICTIMS)
            if mesh.kill(victim) is not None:
                killed.append(victim)

    thread = threading.Thread(target=kill, name="killer")
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def submit_until_accepted(mesh: Mesh, path: Path, key: str) -> str:
    """Repeat a submit with one key until it is accepted, as a careful client does."""

    def accepted() -> str | None:
        try:
            response = mesh.submit(path, {"Idempotency-Key": key})
        except httpx2.TransportError:
            return None
        assert response.status_code in (200, 202, 502, 503), response.text
        return response.json()["job_id"] if response.status_code in (200, 202) else None

    return wait_for(accepted, 90, f"{key} to be accepted", every=0.2)


@pytest.mark.timeout(900)
def test_killed_processes_lose_no_job_and_charge_none_twice(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    count = JOBS[request.config.getoption("--faults")]
    with MESHES[kind](tmp_path) as mesh:
        with killing(mesh, SEED) as killed:
            jobs = [submit_until_accepted(mesh, LONGER if number % 5 == 0 else HELLO, f"kill:{number}") for number in range(count)]
            wait_for(lambda: len(killed) >= count, 300, "as many kills as jobs")
        assert len(set(jobs)) == count
        wait_for(mesh.is_ready, 60, "the mesh to recover")
        rows = {job: mesh.finished(job, 240) for job in jobs}
        assert {row["status"] for row in rows.values()} == {"done"}, rows
        wait_for(lambda: not read_ledger(mesh).open_holds, 120, "every hold to be settled")
        ledger = read_ledger(mesh)
        assert {job: ledger.settlements.get(job) for job in jobs} == dict.fromkeys(jobs, 1)
        assert (ledger.imbalance_ms, ledger.wrong_accounts) == (0, 0)


@pytest.mark.timeout(300)
def test_restarted_worker_repeats_only_unfinished_windows(tmp_path: Path) -> None:
    with running_mesh(tmp_path, {"STENO_INFERENCE_ENGINE_PROCESSES": "1"}) as mesh:
        job_id = mesh.submitted(SAMPLES / "meeting.flac")
        before = wait_for(lambda: (row := mesh.job(job_id))["progress"] > 0.3 and row, 120, "some windows to be done")
        mesh.kill("inference")
        row = mesh.finished(job_id, 240)
        assert row["status"] == "done"
        log = (mesh.data / "logs" / "inference.log").read_text()
        finished, reused = log.count("window finished"), log.count("window reused")
        planned = int(log.rsplit('"windows": ', 1)[1].split(",")[0].split("}")[0])
        assert before["progress"] < 1
        assert reused >= 1
        assert finished <= planned, "a window that was finished is not repeated"
        assert mesh.result(job_id)["text"]


@pytest.mark.timeout(300)
def test_wiped_event_store_loses_no_job(tmp_path: Path) -> None:
    with running_mesh(tmp_path) as mesh:
        jobs = [mesh.submitted(HELLO) for _ in range(4)]
        pid = mesh.child_pid("nats")
        store = mesh.data / "events"
        mesh.kill("nats")
        for path in sorted(store.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        wait_for(lambda: (now := mesh.child_pid("nats")) not in (None, pid) and now, 30, "nats-server to be back")
        assert {mesh.finished(job, 150)["status"] for job in jobs} == {"done"}
        wait_for(lambda: not read_ledger(mesh).open_holds, 120, "every hold to be settled")
        assert sum(read_ledger(mesh).settlements.values()) == len(jobs)


@pytest.mark.timeout(300)
def test_sigterm_under_load_answers_gives_back_and_loses_nothing(tmp_path: Path) -> None:
    statuses: list[int] = []
    with running_mesh(tmp_path) as mesh:
        jobs = [mesh.submitted(SAMPLES / "meeting.flac", diarize="false"), mesh.submitted(HELLO)]

        def load() -> None:
            with mesh.client_for(mesh.ready["api_key"]) as client:
                while True:
                    try:
                        statuses.append(client.get(f"/api/v1/jobs/{jobs[0]}").status_code)
                    except (httpx2.ConnectError, httpx2.RemoteProtocolError, httpx2.ReadError):
                        return

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_for(lambda: mesh.job(jobs[0])["status"] == "processing", 60, "work to begin")
        seconds = mesh.stop()
        for thread in threads:
            thread.join()
        assert seconds < 20
        assert mesh.process.returncode == 0
        assert set(statuses) <= {200, 503}
    with running_mesh(tmp_path) as again:
        assert {again.finished(job, 240)["status"] for job in jobs} == {"done"}
