"""A job's work belongs to the trace of its order, whoever hands it out, and however often."""

from collections.abc import Iterator

import pytest

from services.mesh.deliveries import Delivery
from services.mesh.streams import event_subject, work_subject
from services.mesh.tracing.sampling import Sampling
from services.mesh.tracing.spans import Kind, Span, Tracer, tracing_with
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_events_pb2 import JobFailed, JobQueued
from tests.jobs.conftest import StageFactory
from tests.jobs.stage import claim, until
from tests.jobs.test_trainings import order

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> Iterator[list[Span]]:
    """What is recorded; everything is."""
    kept: list[Span] = []
    with tracing_with(Tracer(Sampling(inherits=True, bound=1 << 64), kept.append)):
        yield kept


def request(spans: list[Span]) -> Span:
    """A request that belongs to the trace."""
    return Tracer(Sampling(inherits=True, bound=0), spans.append).begin("request", Kind.SERVER, PARENT)


async def test_every_attempt_and_the_end_of_a_job_are_in_the_trace_of_its_order(stage: StageFactory, spans: list[Span]) -> None:
    heard: list[tuple[str, str]] = []

    async def hear(delivery: Delivery) -> None:
        heard.append((delivery.message_type.rpartition(".")[2], delivery.trace_parent[3:35]))

    async with stage(lease_seconds=0.05, max_attempts=2) as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        async with mesh.bus.watch(work_subject("*"), hear), mesh.bus.watch(event_subject("jobs", JobFailed), hear):
            with request(spans):
                job = (await owner.create(mesh.storage.add_media("ws"))).job
            for attempt in (1, 2):
                await until(lambda attempt=attempt: len(heard) == attempt, "it was not handed out")  # type: ignore[misc]
                await claim(worker, job.id)
            await until(lambda: len(heard) == 3, "it never failed")
        assert await owner.state(job.id) == Job.STATE_FAILED
    trace_id = PARENT[3:35]
    assert heard == [("WorkDispatched", trace_id), ("WorkDispatched", trace_id), ("JobFailed", trace_id)]
    [created] = [span for span in spans if span.name == "steno.jobs.v1.JobsService/CreateJob" and span.kind is Kind.SERVER]
    sent = [span for span in spans if span.name == f"send {work_subject('transcription')}"]
    assert [span.above for span in sent] == [created.parent[36:52]] * 2
    assert created.attributes["steno.job.id"] == job.id


async def test_announcing_and_fetching_are_in_the_trace_of_the_order(stage: StageFactory, spans: list[Span]) -> None:
    async with stage() as mesh, mesh.jobs():
        owner = await mesh.owner()
        with request(spans):
            job = (await owner.submit_url("https://example.com/talk.mp3")).job
        await until(lambda: [span for span in spans if span.name == "fetch media"], "it was not fetched")
    [fetching] = [span for span in spans if span.name == "fetch media"]
    assert (fetching.trace_id, fetching.attributes["steno.job.id"]) == (PARENT[3:35], job.id)
    asked = {span.name: span for span in spans if span.kind is Kind.CLIENT and span.above == fetching.parent[36:52]}
    assert "steno.storage.v1.StorageService/FetchMedia" in asked
    [announced] = [span for span in spans if span.name == f"send {event_subject('jobs', JobQueued)}"]
    assert announced.trace_id == PARENT[3:35]


async def test_trainings_are_handed_out_in_the_trace_of_their_order(stage: StageFactory, spans: list[Span]) -> None:
    heard: list[str] = []

    async def hear(delivery: Delivery) -> None:
        heard.append(delivery.trace_parent[3:35])

    async with stage() as mesh, mesh.jobs():
        lab = await mesh.lab()
        async with mesh.bus.watch(work_subject("*"), hear):
            with request(spans):
                await order(lab, mesh.datasets.add_set("hum"))
            await until(lambda: bool(heard), "it was not handed out")
    assert heard == [PARENT[3:35]]
