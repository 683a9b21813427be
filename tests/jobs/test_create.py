"""Accepting orders."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from services.jobs.app import SCHEMA
from services.jobs.store.keys import ClientKey
from services.jobs.usecases.intake import Intake, Order, open_intake
from services.mesh.database import Database, open_database
from services.mesh.database_failures import unavailable
from services.mesh.errors import Overloaded, ServiceUnavailable
from services.mesh.identity import Caller, CallerKind
from services.mesh.ids import new_id
from services.mesh.status import RemoteError
from steno.billing.v1.ledger_pb2 import Hold
from steno.billing.v1.workspace_pb2 import Plan
from steno.jobs.v1.job_pb2 import Job, KnownSpeaker, TranscriptionConfig
from steno.jobs.v1.jobs_events_pb2 import JobQueued, WorkDispatched
from steno.jobs.v1.jobs_service_pb2 import CreateJobRequest, FindJobRequest
from tests.jobs.conftest import StageFactory
from tests.jobs.stage import until
from tests.servers import free_port


async def test_accepted_order_is_held_stored_told_and_dispatched(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner = await mesh.owner()
        made = await owner.create(mesh.storage.add_media("ws", duration_ms=90_001), language="EN-us", diarize=True)
        job = await owner.get(made.job.id)
        assert (job.state, job.audio_duration_ms, job.revision) == (Job.STATE_QUEUED, 90_001, 1)
        assert (job.config.language, job.config.diarize, job.filename) == ("en", True, "talk.mp3")
        assert mesh.billing.holds[job.id].amount_ms == 90_001
        await until(lambda: mesh.told_of(JobQueued, job.id) and mesh.told_of(WorkDispatched, job.id))


async def test_one_key_makes_one_job_under_200_concurrent_requests(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner = await mesh.owner()
        media = [mesh.storage.add_media("ws") for _ in range(200)]
        answers = await asyncio.gather(*(owner.create(media_id, key="order-1") for media_id in media))
        assert len({answer.job.id for answer in answers}) == 1
        assert sorted(answer.replayed for answer in answers) == [False] + [True] * 199
        assert mesh.billing.in_state(Hold.STATE_OPEN) == [answers[0].job.id]
        assert (await owner.list()).total_size == 1


async def test_media_past_the_plan_makes_no_job_however_it_came_to_storage(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        plan = mesh.billing.plans["ws"]
        mesh.billing.plans["ws"] = Plan(name=plan.name, retention_days=30, max_duration_ms=60_000)
        owner = await mesh.owner()
        with pytest.raises(RemoteError) as refusal:
            await owner.create(mesh.storage.add_media("ws", duration_ms=60_001))
        assert refusal.value.reason_name == "MEDIA_TOO_LONG"
        assert mesh.billing.in_state(Hold.STATE_OPEN) == []
        assert (await owner.create(mesh.storage.add_media("ws", duration_ms=60_000))).job.retention_days == 30


async def test_one_key_is_replayed_where_credit_covers_one_job_only(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        mesh.billing.credit_ms["ws"] = 90_001
        owner = await mesh.owner()
        media = [mesh.storage.add_media("ws", duration_ms=90_001) for _ in range(50)]
        answers = await asyncio.gather(*(owner.create(media_id, key="order-1") for media_id in media))
        assert len({answer.job.id for answer in answers}) == 1


async def test_one_key_makes_one_job_on_two_replicas(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        other_port = free_port()
        async with mesh.jobs(port=other_port):
            owners = [await mesh.owner(), await mesh.owner(port=other_port)]
            orders = [owners[n % 2].create(mesh.storage.add_media("ws"), key=f"order-{n % 8}") for n in range(64)]
            answers = await asyncio.gather(*orders)
            assert len({answer.job.id for answer in answers}) == 8
            assert sum(answer.replayed for answer in answers) == 56
            assert len(mesh.billing.in_state(Hold.STATE_OPEN)) == 8


async def test_a_key_used_for_another_order_is_refused(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner = await mesh.owner()
        first = await owner.create(mesh.storage.add_media("ws", content="a"), key="k")
        same = await owner.create(mesh.storage.add_media("ws", content="a"), key="k")
        assert same.replayed
        assert same.job.id == first.job.id
        for content, diarize in (("b", False), ("a", True)):
            with pytest.raises(RemoteError) as refusal:
                await owner.create(mesh.storage.add_media("ws", content=content), key="k", diarize=diarize)
            assert refusal.value.reason_name == "IDEMPOTENCY_KEY_REUSED"
        assert mesh.billing.in_state(Hold.STATE_OPEN) == [first.job.id]


async def test_keys_of_different_api_keys_do_not_meet(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        one, two = await mesh.owner(key_id="key-1"), await mesh.owner(key_id="key-2")
        first = await one.create(mesh.storage.add_media("ws"), key="k")
        second = await two.create(mesh.storage.add_media("ws"), key="k")
        assert first.job.id != second.job.id
        assert not second.replayed


async def test_a_key_finds_its_job_before_bytes_are_sent_again(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, stranger = await mesh.owner(), await mesh.owner("other")
        made = await owner.create(media_id := mesh.storage.add_media("ws"), key="k")
        found = await owner.call("FindJob", FindJobRequest(idempotency_key="k"))
        assert (found.job.id, found.media_sha256) == (made.job.id, mesh.storage.media["ws", media_id].sha256)
        for asking, key in ((owner, "unused"), (stranger, "k")):
            with pytest.raises(RemoteError) as refusal:
                await asking.call("FindJob", FindJobRequest(idempotency_key=key))
            assert refusal.value.reason_name == "JOB_NOT_FOUND"


async def test_without_credit_nothing_is_kept_and_the_key_stays_free(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, media_id = await mesh.owner(), mesh.storage.add_media("ws")
        mesh.billing.credit_ms["ws"] = 59_999
        with pytest.raises(RemoteError) as refusal:
            await owner.create(media_id, key="k")
        assert refusal.value.reason_name == "NO_CREDITS"
        assert refusal.value.metadata["available_ms"] == "59999"
        assert (await owner.list()).total_size == 0
        assert not mesh.billing.holds
        mesh.billing.credit_ms["ws"] = 60_000
        assert not (await owner.create(media_id, key="k")).replayed


async def test_an_order_is_refused_while_billing_is_down(stage: StageFactory) -> None:

    async with stage(billing_address=f"127.0.0.1:{free_port()}") as mesh, mesh.jobs():
        owner = await mesh.owner()
        with pytest.raises(RemoteError) as refusal:
            await owner.create(mesh.storage.add_media("ws"), key="k")
        assert (refusal.value.code.name, refusal.value.reason_name) == ("UNAVAILABLE", "SERVICE_UNAVAILABLE")
        assert (await owner.list()).total_size == 0


async def test_a_hold_that_took_too_long_is_given_back(stage: StageFactory) -> None:
    async with stage(reserve_seconds=1e-9) as mesh, mesh.jobs():
        owner = await mesh.owner()
        with pytest.raises(RemoteError) as refusal:
            await owner.create(mesh.storage.add_media("ws"), key="k")
        assert refusal.value.code.name == "UNAVAILABLE"
        assert len(mesh.billing.in_state(Hold.STATE_RELEASED)) == 1
        assert (await owner.list()).total_size == 0


async def refused(creating: Awaitable[Any]) -> str:
    """The reason for which an order was refused."""
    with pytest.raises(RemoteError) as refusal:
        await creating
    return refusal.value.reason_name


async def test_media_makes_one_job_whoever_asks_again(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, colleague = await mesh.owner(), await mesh.owner(owner="user:colleague")
        made = await owner.create(media_id := mesh.storage.add_media("ws"), key="k")
        for asking, key in ((owner, ""), (owner, "other"), (colleague, "k2")):
            assert await refused(asking.create(media_id, key=key)) == "MEDIA_TAKEN"
        assert mesh.billing.in_state(Hold.STATE_OPEN) == [made.job.id]
        again = await owner.create(media_id, key="k")
        assert (again.replayed, again.job.id) == (True, made.job.id)
        other = await owner.create(mesh.storage.add_media("ws"), key="other")
        assert not other.replayed, "the refused order kept its key"


async def test_racing_orders_of_one_media_make_one_job_on_two_replicas(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        other_port = free_port()
        async with mesh.jobs(port=other_port):
            owners = [await mesh.owner(), await mesh.owner(port=other_port)]
            media = [mesh.storage.add_media("ws") for _ in range(4)]
            orders = [owners[n % 2].create(media[n // 2 % 4], key=f"order-{n}" if n % 3 else "") for n in range(48)]
            answers = await asyncio.gather(*orders, return_exceptions=True)
            made = [answer.job for answer in answers if not isinstance(answer, BaseException)]
            assert sorted(job.media_id for job in made) == sorted(media)
            reasons = {answer.reason_name for answer in answers if isinstance(answer, RemoteError)}
            assert reasons == {"MEDIA_TAKEN"}
            assert len(made) + sum(isinstance(answer, RemoteError) for answer in answers) == len(orders)
            assert sorted(mesh.billing.in_state(Hold.STATE_OPEN)) == sorted(job.id for job in made)
            assert (await owners[0].list()).total_size == 4


async def test_media_of_a_deleted_job_is_taken_until_it_is_gone(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, media_id = await mesh.owner(), mesh.storage.add_media("ws")
        job = (await owner.create(media_id)).job
        mesh.storage.broken = True
        await owner.delete(job.id)
        await owner.delete(job.id)
        assert await refused(owner.create(media_id)) == "MEDIA_TAKEN"
        mesh.storage.broken = False
        await until(lambda: not mesh.storage.media)
        assert await refused(owner.create(media_id)) == "MEDIA_NOT_FOUND"


MALFORMED: list[tuple[str, dict[str, Any], str]] = [
    ("a b", {}, "INVALID_IDEMPOTENCY_KEY"),
    ("k" * 256, {}, "INVALID_IDEMPOTENCY_KEY"),
    ("", {"language": "klingon"}, "INVALID_LANGUAGE"),
    ("", {"speaker_count": 21}, "INVALID_FIELD"),
    ("", {"prompt": "é" * 2049}, "INVALID_FIELD"),
    ("", {"temperature": 1.1}, "INVALID_FIELD"),
]


async def test_a_malformed_order_costs_nothing(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner = await mesh.owner()
        for key, config, reason in MALFORMED:
            with pytest.raises(RemoteError) as refusal:
                await owner.create(mesh.storage.add_media("ws"), key=key, **config)
            assert refusal.value.reason_name == reason
        assert mesh.billing.reserve_count == 0


async def test_an_order_keeps_its_title_and_all_of_its_configuration(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner = await mesh.owner()
        voice = KnownSpeaker(name="Ada", embedding=b"\0" * 256)
        config = TranscriptionConfig(task=TranscriptionConfig.TASK_TRANSLATE, temperature=0.0, known_speakers=[voice], language="en")
        request = CreateJobRequest(
            media_id=mesh.storage.add_media("ws"), source=Job.SOURCE_API, config=config, title="  Épisode 412 ", idempotency_key="k"
        )
        job = (await owner.call("CreateJob", request)).job
        assert (job.title, job.config) == ("Épisode 412", config)
        assert (await owner.get(job.id)) == job
        retitled = CreateJobRequest(
            media_id=mesh.storage.add_media("ws"), source=Job.SOURCE_API, config=config, title="other", idempotency_key="k"
        )
        again = await owner.call("CreateJob", retitled)
        assert (again.replayed, again.job.title) == (True, "Épisode 412"), "a title does not make another order"
        for title in ("x" * 256, "a\0b"):
            request.title = title
            assert await refused(owner.call("CreateJob", request)) == "INVALID_FIELD"


async def test_foreign_media_is_not_found(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        with pytest.raises(RemoteError) as refusal:
            await (await mesh.owner()).create(mesh.storage.add_media("other"))
        assert refusal.value.reason_name == "MEDIA_NOT_FOUND"


async def test_an_order_that_cannot_be_stored_fails_alone(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner = await mesh.owner()
        media = [mesh.storage.add_media("ws") for _ in range(12)]
        mesh.storage.media["ws", media[5]].probe.duration_ms = 2**63 - 1
        mesh.storage.media["ws", media[5]].filename = "a\0b"
        mesh.billing.credit_ms["ws"] = 2**64
        answers = await asyncio.gather(*(owner.create(media_id) for media_id in media), return_exceptions=True)
        stored = [answer for n, answer in enumerate(answers) if n != 5 and not isinstance(answer, BaseException)]
        assert len(stored) == 11
        poisoned = isinstance(answers[5], RemoteError)
        assert (await owner.list()).total_size == 12 - poisoned
        assert poisoned is mesh.settings.database_url.startswith("postgresql")


async def test_orders_are_refused_when_too_many_wait(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        async with open_database(mesh.settings.database_url, schema=SCHEMA) as database:
            intake = Intake(database, 20.0)
            media = mesh.storage.media["ws", mesh.storage.add_media("ws")]
            caller = Caller(CallerKind.KEY, "gateway", "ws", "workspace", "k")
            orders = [Order(new_id(), caller, None, "", TranscriptionConfig(), Job.SOURCE_API, media) for _ in range(1025)]
            waiting = [asyncio.create_task(intake.store(order)) for order in orders]
            await until(lambda: any(task.done() for task in waiting))
            refused = [task for task in waiting if task.done()]
            assert [type(task.exception()) for task in refused] == [Overloaded]
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


class _AnswerLost(Database):
    """A database that commits, and then loses the answer whenever a job was stored."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.dialect = database.dialect

    async def grouped(self, unit: Callable[[Any], Awaitable[Any]]) -> Any:
        """As the database's, but for what is lost."""
        outcomes = await self._database.grouped(unit)
        if any(isinstance(outcome, Job) for outcome in outcomes.values()):
            raise unavailable("unknown")
        return outcomes


async def test_orders_stored_by_a_commit_of_unknown_outcome_do_not_meet_their_own_keys(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner = await mesh.owner()
        async with open_database(mesh.settings.database_url, schema=SCHEMA) as database, open_intake(_AnswerLost(database), 20.0) as intake:

            def order(number: int) -> Order:
                key = ClientKey("ws", "key-1", f"key-{number}")
                media = mesh.storage.media["ws", mesh.storage.add_media("ws")]
                return Order(new_id(), owner.caller, key, "", TranscriptionConfig(), Job.SOURCE_API, media, time.monotonic())

            outcomes = await asyncio.gather(*(intake.store(order(number)) for number in range(6)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ServiceUnavailable] * 6
        assert (await owner.list()).total_size == 6
