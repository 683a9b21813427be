"""Other teams call the services over gRPC with an API key; nobody calls without one."""

import asyncio
import os
import re
import subprocess
import sys

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.mesh.api_keys import REMEMBER_SECONDS
from steno.inference.v1 import inference_service_pb2
from steno.inference.v1.inference_service_pb2 import TranscribeRequest, TranscribeResponse
from steno.inference.v1.inference_service_pb2_grpc import InferenceServiceStub
from steno.jobs.v1 import jobs_service_pb2, work_service_pb2
from steno.jobs.v1.jobs_service_pb2_grpc import JobsServiceStub
from steno.storage.v1 import storage_service_pb2
from tests.e2e.mesh import ROOT, SAMPLES, Mesh, wait_for

SERVERS = {
    "jobs": [*jobs_service_pb2.DESCRIPTOR.services_by_name.values(), *work_service_pb2.DESCRIPTOR.services_by_name.values()],
    "storage": storage_service_pb2.DESCRIPTOR.services_by_name.values(),
    "inference": inference_service_pb2.DESCRIPTOR.services_by_name.values(),
}


@pytest.mark.parametrize("server", SERVERS)
def test_every_method_but_health_refuses_a_call_with_neither_token_nor_key(server: str, embedded: Mesh) -> None:
    async def codes() -> set[grpc.StatusCode]:
        found: set[grpc.StatusCode] = set()
        async with embedded.channel(server) as channel:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            for service in SERVERS[server]:
                for method in service.methods:
                    found.add(await refusal(channel, f"/{service.full_name}/{method.name}", method.server_streaming))
        return found

    # Methods that a client's certificate may not call at all are refused for that.
    others = {grpc.StatusCode.PERMISSION_DENIED} if embedded.ready.get("tls") and server != "inference" else set()
    assert asyncio.run(codes()) == {grpc.StatusCode.UNAUTHENTICATED, *others}


async def refusal(channel: grpc.aio.Channel, path: str, streaming: bool) -> grpc.StatusCode:
    """The status of an empty request to a method."""
    try:
        if streaming:
            await channel.unary_stream(path)(b"", timeout=60).read()  # type: ignore[arg-type]
        else:
            await channel.unary_unary(path)(b"", timeout=60)  # type: ignore[arg-type]
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def test_api_key_reads_its_own_jobs_over_grpc(embedded: Mesh) -> None:
    job_id = embedded.submitted(SAMPLES / "clips" / "silence.flac")

    async def read() -> jobs_service_pb2.GetJobResponse:
        async with embedded.channel("jobs") as channel:
            stub = JobsServiceStub(channel)
            metadata = (("x-api-key", embedded.ready["api_key"]),)
            return await stub.GetJob(jobs_service_pb2.GetJobRequest(job_id=job_id), metadata=metadata, timeout=60)

    assert asyncio.run(read()).job.id == job_id


def test_example_of_the_documentation_transcribes_and_pays(embedded: Mesh) -> None:
    example = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "grpc.md").read_text(), re.DOTALL)
    environment = {
        **os.environ,
        "STENO_API_KEY": embedded.ready["api_key"],
        "STENO_INFERENCE_ADDRESS": embedded.ready["grpc"]["inference"],
        **({"STENO_CERTIFICATES": str(embedded.certificates.of("client/lab").folder)} if embedded.ready.get("tls") else {}),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "protos")]),
    }
    before = embedded.client.get("/api/v1/credits").raise_for_status().json()
    command = [sys.executable, "-c", *example, str(SAMPLES / "clips" / "hello.flac")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    *spoken, charged = done.stdout.splitlines()
    assert "calling" in " ".join(spoken).lower()
    after = embedded.client.get("/api/v1/credits").raise_for_status().json()
    charged_hours = int(charged.removeprefix("charged ")) / 3_600_000
    assert charged_hours > 0
    assert after["used_hours"] - before["used_hours"] == pytest.approx(charged_hours, abs=1e-4)


def test_api_key_gets_the_segments_of_its_job_from_the_media_alone(embedded: Mesh) -> None:
    job_id = embedded.submitted(SAMPLES / "clips" / "two_voices.ogg")
    assert embedded.finished(job_id)["status"] == "done"
    metadata = (("x-api-key", embedded.ready["api_key"]),)

    async def heard() -> list[TranscribeResponse]:
        async with embedded.channel("jobs") as channel:
            job = (await JobsServiceStub(channel).GetJob(jobs_service_pb2.GetJobRequest(job_id=job_id), metadata=metadata, timeout=60)).job
        request = TranscribeRequest(media_id=job.media_id, config=job.config)
        async with embedded.channel("inference") as channel:
            return [response async for response in InferenceServiceStub(channel).Transcribe(request, metadata=metadata, timeout=240)]

    responses = asyncio.run(heard())
    segments = [response.segment for response in responses if response.HasField("segment")]
    told = [(segment.text, segment.start_offset_ms) for segment in segments]
    assert told == [(row["text"], round(row["start"] * 1000)) for row in embedded.result(job_id)["segments"]]
    assert responses[-1].completed.billable_ms > 0


def test_revoked_key_stops_working_everywhere_before_its_answer_would_be_forgotten(embedded: Mesh) -> None:
    made = embedded.client.post("/api/v1/auth/api-keys", json={"name": "short-lived"}).raise_for_status().json()
    metadata = (("x-api-key", made["key"]),)

    async def refused() -> bool:
        async with embedded.channel("jobs") as channel:
            try:
                await JobsServiceStub(channel).ListJobs(jobs_service_pb2.ListJobsRequest(), metadata=metadata, timeout=60)
            except grpc.aio.AioRpcError as error:
                return error.code() is grpc.StatusCode.UNAUTHENTICATED
            return False

    with embedded.client_for(made["key"]) as client:
        assert not asyncio.run(refused())
        assert client.get("/api/v1/me").status_code == 200
        assert embedded.client.delete(f"/api/v1/auth/api-keys/{made['id']}").status_code == 204
        wait_for(lambda: client.get("/api/v1/me").status_code == 401, REMEMBER_SECONDS - 1, "the gateway to refuse the key")
        wait_for(lambda: asyncio.run(refused()), REMEMBER_SECONDS - 1, "jobs to refuse the key")
