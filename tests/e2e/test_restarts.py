"""Processes that end and come back: a killed worker, and a mesh that is told to stop."""

import threading
from pathlib import Path

import httpx2
import pytest

from tests.e2e.mesh import SAMPLES, running_mesh, wait_for

HELLO = SAMPLES / "clips" / "hello.flac"


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
