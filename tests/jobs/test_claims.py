"""Claim tokens: the same at every replay, of use once, to one user."""

import asyncio
import re
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select

from services.jobs.app import SCHEMA
from services.jobs.claim_key import ClaimKeyUnusable, read_claim_key
from services.jobs.store.jobs import JOB
from services.mesh.database import open_database
from services.mesh.ids import new_id
from steno.billing.v1.workspace_pb2 import Plan
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_service_pb2 import FindJobRequest
from tests.jobs.conftest import StageFactory
from tests.jobs.stage import Owner, claim, until
from tests.jobs.test_access import refusal
from tests.servers import free_port


async def test_replays_answer_the_same_token_until_it_is_claimed(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs(), mesh.jobs(port=(other_port := free_port())):
        guest, elsewhere, user = await mesh.guest(), await mesh.guest(port=other_port), await mesh.user("u1")
        made = await guest.create(mesh.storage.add_media("ws"), key="k")
        assert re.fullmatch("[0-9a-f]{64}", made.claim_token)
        again = await elsewhere.create(mesh.storage.add_media("ws"), key="k")
        assert (again.replayed, again.claim_token) == (True, made.claim_token)
        assert (await guest.call("FindJob", FindJobRequest(idempotency_key="k"))).claim_token == made.claim_token
        assert await user.claim(made.claim_token) == 1
        assert (await refusal(guest.call("FindJob", FindJobRequest(idempotency_key="k")))).reason_name == "JOB_NOT_FOUND"
        assert (await refusal(guest.create(mesh.storage.add_media("ws"), key="k"))).reason_name == "IDEMPOTENCY_KEY_REUSED"
        mine = await user.create(mesh.storage.add_media("ws"), key="k")
        assert (mine.replayed, mine.job.id, mine.claim_token) == (True, made.job.id, "")


async def test_only_a_digest_of_the_token_is_stored(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        made = await (await mesh.guest()).create(mesh.storage.add_media("ws"), key="k")
        async with open_database(mesh.settings.database_url, schema=SCHEMA) as database:
            [row] = await database.read_all(select(JOB))
        assert made.claim_token not in str(row)
        assert row.claim_digest == (await mesh.guest(made.claim_token)).caller.claim_digest


async def test_a_claimed_job_is_the_users_and_its_token_proves_nothing_more(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        guest, user, other = await mesh.guest(), await mesh.user("u1"), await mesh.user("u2")
        made = [await guest.create(mesh.storage.add_media("ws")) for _ in range(3)]
        tokens = [answer.claim_token for answer in made]
        assert await user.claim(tokens[0], tokens[0], tokens[1], "unknown", "x" * 5000, "") == 2
        assert await user.claim(*tokens[:2]) == 0
        assert await other.claim(*tokens[:2]) == 0
        claimed = await user.get(made[0].job.id)
        assert (claimed.owner, claimed.retention_days) == ("user:u1", 30)
        assert (await user.list()).total_size == 2
        assert (await refusal((await mesh.guest(tokens[0])).get(made[0].job.id))).reason_name == "JOB_NOT_FOUND"
        assert (await refusal(guest.get(made[0].job.id))).reason_name == "AUTHENTICATION_REQUIRED"
        assert (await (await mesh.guest(tokens[2])).list()).total_size == 1


async def test_only_users_claim_and_at_most_a_hundred_at_once(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        made = await (await mesh.guest()).create(mesh.storage.add_media("ws"))
        for asking in (await mesh.guest(made.claim_token), await mesh.guest(wallet_id=new_id()), await mesh.owner()):
            assert (await refusal(asking.claim(made.claim_token))).reason_name == "AUTHENTICATION_REQUIRED"
        user, foreigner = await mesh.user("u1"), await mesh.user("u1", workspace_id="other")
        for tokens in ((), ("x",) * 101):
            assert (await refusal(user.claim(*tokens))).reason_name == "INVALID_FIELD"
        assert await foreigner.claim(made.claim_token) == 0, "a token is of use in its workspace only"
        assert await user.claim(*("x",) * 99, made.claim_token) == 1


async def test_of_two_users_who_claim_at_once_one_wins_each_job(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs(), mesh.jobs(port=(other_port := free_port())):
        guest, one, two = await mesh.guest(), await mesh.user("u1"), await mesh.user("u2", port=other_port)
        for _ in range(3):
            tokens = [(await guest.create(mesh.storage.add_media("ws"))).claim_token for _ in range(12)]
            orders = [tokens, tokens[::-1], tokens[3:] + tokens[:3], tokens[:6]]
            counts = await asyncio.gather(*(user.claim(*order) for order in orders for user in (one, two)))
            assert sum(counts) == len(tokens)
        totals = [(await user.list()).total_size for user in (one, two)]
        assert sum(totals) == 36
        assert [len((await user.list(page_size=100)).jobs) for user in (one, two)] == totals
        assert (await one.list(states=[Job.STATE_QUEUED])).total_size == totals[0]


async def test_claiming_extends_retention_to_the_users_plan_and_never_shortens_it(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        for wallet, days in (("ws", 3), ("u-long", 365), ("u-short", 1)):
            mesh.billing.plans[wallet] = Plan(name=wallet, retention_days=days)
        guest, worker = await mesh.guest(), await mesh.worker()
        for user_id, days in (("u-long", 365), ("u-short", 3)):
            user = await mesh.user(user_id)
            done, queued = [await guest.create(mesh.storage.add_media("ws")) for _ in range(2)]
            await mesh.complete(done.job.id, (await claim(worker, done.job.id)).fence, mesh.storage.add_artefact("ws"))
            holder = await mesh.guest(done.claim_token)
            await until(partial(_is_done, holder, done.job.id))
            assert await user.claim(done.claim_token, queued.claim_token) == 2
            kept = await user.get(done.job.id)
            window = kept.audio_expire_time.ToDatetime() - kept.complete_time.ToDatetime()
            assert (kept.retention_days, window) == (days, timedelta(days=days))
            assert (await user.get(queued.job.id)).retention_days == days
            assert (await user.list(states=[Job.STATE_DONE])).total_size == 1


async def test_a_deleted_job_cannot_be_claimed(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        mesh.storage.broken = True
        made = await (await mesh.guest()).create(mesh.storage.add_media("ws"))
        holder = await mesh.guest(made.claim_token)
        await holder.delete(made.job.id)
        await holder.delete(made.job.id)
        assert await (await mesh.user("u1")).claim(made.claim_token) == 0


def test_a_key_file_that_is_missing_short_or_open_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "claim"
    with pytest.raises(ClaimKeyUnusable):
        read_claim_key(path)
    for content, mode in ((b"x" * 31, 0o600), (b"x" * 31 + b"\n", 0o600), (b"x" * 32, 0o604)):
        path.write_bytes(content)
        path.chmod(mode)
        with pytest.raises(ClaimKeyUnusable):
            read_claim_key(path)
    path.chmod(0o600)
    key = read_claim_key(path)
    assert key.token("a") != key.token("b")
    assert "x" * 32 not in repr(key)


def test_random_bytes_are_a_key_also_when_they_end_like_a_line(tmp_path: Path) -> None:
    path = tmp_path / "claim"
    path.touch(0o600)
    path.write_bytes(b"\n" + bytes(range(129, 159)) + b" ")
    assert len(read_claim_key(path).secret) == 32
    path.write_bytes(b"x" * 32 + b"\n")
    assert read_claim_key(path).secret == b"x" * 32


async def _is_done(owner: Owner, job_id: str) -> bool:
    return await owner.state(job_id) == Job.STATE_DONE
