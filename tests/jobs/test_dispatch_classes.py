"""Each class of work is handed out by itself: a flood of one keeps none of the others waiting."""

import asyncio
from functools import partial

from services.mesh.deliveries import Delivery
from services.mesh.streams import work_consumer, work_subject
from steno.jobs.v1.jobs_events_pb2 import WorkDispatched
from tests.jobs.conftest import StageFactory
from tests.jobs.files import new_order, queued
from tests.jobs.stage import Stage, claim, until
from tests.jobs.test_trainings import made_detector, order


class Queues:
    """What was handed out, by class of work, in order."""

    def __init__(self) -> None:
        self.of: dict[str, list[str]] = {"transcription": [], "training": [], "detection": []}

    def have(self, work_class: str, count: int) -> bool:
        """Whether so many of a class were handed out."""
        return len(self.of[work_class]) >= count

    async def hear(self, delivery: Delivery) -> None:
        """Keeps a message of the queue."""
        self.of[delivery.subject.rpartition(".")[2]].append(delivery.parse(WorkDispatched).job_id)


async def consume(mesh: Stage, work_class: str, taken: list[str], stopping: asyncio.Event) -> None:
    """Takes work of a class off the queue and does nothing with it, as a worker that dies."""

    async def take(delivery: Delivery) -> None:
        taken.append(delivery.parse(WorkDispatched).job_id)

    await mesh.bus.consume(work_consumer(work_class), take, stopping=stopping, concurrency=1)


async def test_every_kind_of_job_has_a_queue_of_its_own(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab, owner, queues = await mesh.lab(), await mesh.owner(), Queues()
        order_id = (await new_order(mesh, lab)).id
        async with mesh.bus.watch(work_subject("*"), queues.hear):
            training = await order(lab, mesh.datasets.add_set("hum"))
            file = await queued(lab, order_id)
            job = (await owner.create(mesh.storage.add_media("ws"))).job
            await until(lambda: all(queues.of.values()))
            assert queues.of == {"transcription": [job.id], "training": [training.id], "detection": [file.id]}


async def test_flood_of_one_class_keeps_no_other_waiting(stage: StageFactory) -> None:
    async with stage(dispatch_window=2, lost_dispatch_seconds=60.0) as mesh, mesh.jobs():
        lab, owner, queues, worker = await mesh.lab(), await mesh.owner(), Queues(), await mesh.worker()
        order_id = (await new_order(mesh, lab)).id
        async with mesh.bus.watch(work_subject("*"), queues.hear):
            described = mesh.datasets.add_set("hum")
            trainings = [(await order(lab, described)).id for _ in range(6)]
            files = [(await queued(lab, order_id)).id for _ in range(6)]
            await until(lambda: (queues.of["training"], queues.of["detection"]) == (trainings[:2], files[:2]))
            job = (await owner.create(mesh.storage.add_media("ws"))).job
            await until(lambda: queues.of["transcription"] == [job.id], "the flood held up a transcription")
            await claim(worker, files[0])
            await until(lambda: queues.of["detection"] == files[:3], "a file that was taken makes room for the next")
            assert queues.of["training"] == trainings[:2], "its window is full"


async def test_work_lost_by_one_queue_is_handed_out_again_though_another_is_full(stage: StageFactory) -> None:
    async with stage(lost_dispatch_seconds=0.3, stale_dispatch_seconds=600.0) as mesh, mesh.jobs():
        lab, owner, queues = await mesh.lab(), await mesh.owner(), Queues()
        order_id = (await new_order(mesh, lab)).id
        stopping, taken, seen = asyncio.Event(), list[str](), list[str]()
        async with asyncio.TaskGroup() as tasks, mesh.bus.watch(work_subject("*"), queues.hear):
            for work_class, into in (("detection", taken), ("transcription", seen)):
                tasks.create_task(consume(mesh, work_class, into, stopping))
            training = await order(lab, mesh.datasets.add_set("hum"))
            file = await queued(lab, order_id)
            await until(lambda: taken.count(file.id) >= 2, "a file whose message was lost was left behind")
            job = (await owner.create(mesh.storage.add_media("ws"))).job
            await until(lambda: seen.count(job.id) >= 2, "a transcription whose message was lost was left behind")
            assert queues.of["training"].count(training.id) == 1, "what still waits in its queue is not handed out twice"
            stopping.set()


async def test_workspaces_take_turns_within_a_class(stage: StageFactory) -> None:
    async with stage(dispatch_window=2, lost_dispatch_seconds=60.0) as mesh, mesh.jobs():
        flood, small, queues, worker = await mesh.lab("flood"), await mesh.lab("small"), Queues(), await mesh.worker()
        for lab in (flood, small):
            await made_detector(mesh, lab)
        described = mesh.datasets.add_set("hum", workspace_id="flood")
        theirs = mesh.datasets.add_set("hum", workspace_id="small")
        async with mesh.bus.watch(work_subject("*"), queues.hear):
            for _ in range(12):
                await order(flood, described)
            mine = (await order(small, theirs)).id
            done = 0
            while mine not in queues.of["training"]:
                await until(partial(queues.have, "training", done + 1))
                await claim(worker, queues.of["training"][done])
                done += 1
            assert len(queues.of["training"]) <= 5, "the small workspace waited behind the flood"
