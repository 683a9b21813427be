"""One thing of every kind and every owner, living and deleted: what strangers ask for."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc

from faults.doors.declared import DETECTION, Kind
from faults.doors.detection import Ids, confirm_file, end_training, everything, labelled, placed_model, trainable, training
from faults.doors.tenants import API, Actor, Job, Workspace, random_token
from services.mesh.ids import new_id
from steno.jobs.v1.jobs_service_pb2 import GetJobRequest
from steno.jobs.v1.jobs_service_pb2_grpc import JobsServiceStub
from tests.e2e.mesh import wait_for

USER, OTHER_USER = "ada@example.com", "grace@example.com"
_SECONDS = 240


@dataclass(frozen=True)
class Thing:
    """Something by its id.

    owner: whose within its workspace; state: living or deleted; query: the permission of its signed URL; around: the ids of what it
    stands in, by the name of their parameter.
    """

    kind: Kind
    id: str
    owner: str
    state: str = "living"
    query: str = ""
    around: Ids = field(default_factory=dict, hash=False)


@dataclass
class Belongings:
    """What a workspace has. claims: the claim tokens of its guests by the job they prove."""

    workspace: Workspace
    things: list[Thing] = field(default_factory=list)
    claims: dict[str, str] = field(default_factory=dict)

    def of(self, kind: Kind) -> list[Thing]:
        """Those of a kind."""
        return [thing for thing in self.things if thing.kind == kind]

    def secrets(self) -> set[str]:
        """What nobody else's answer may hold."""
        return {thing.id for thing in self.things}


def random_value(kind: Kind) -> str:
    """An id or token that nothing has."""
    return random_token() if kind in ("claim", "wallet") else new_id()


def gather(workspace: Workspace) -> Belongings:
    """Made by its owner, a user and a guest, one of each; every second thing is deleted again."""
    found = Belongings(workspace)
    found.things.append(Thing("workspace", workspace.id, "workspace"))
    with ThreadPoolExecutor(3, "belongings") as threads:
        people = [workspace.owner(), workspace.user(USER), workspace.guest()]
        for things, claims in threads.map(lambda actor: _of_actor(workspace, actor), people):
            found.things += things
            found.claims |= claims
    return found


def _of_actor(workspace: Workspace, actor: Actor) -> tuple[list[Thing], Mapping[str, str]]:
    jobs = {state: workspace.submitted_job(actor) for state in ("living", "deleted")}
    waiting = {state: workspace.announced_job(actor) for state in ("living", "deleted")}
    owner = actor.owner or "guest"
    things = [*_purchases(workspace, actor, owner), *(_keys(workspace) if actor.manages else ())]
    for state, job in jobs.items():
        ended = _ended(workspace, actor, job)
        things += [Thing("job", ended.id, owner, state), Thing("media", ended.media_id, owner, state, ended.query)]
    for state, job in waiting.items():
        things += [Thing("job", job.id, owner, state), Thing("media", job.media_id, owner, state, job.query)]
    things += [Thing("artefact", _artefact(workspace, jobs["living"].id), owner)] if actor.manages else []
    things += _detection(workspace, actor) if actor.owner else []
    things += [Thing("claim", job.claim_token, owner) for job in jobs.values() if job.claim_token]
    # What waits is cancelled first, and is gone only then.
    for job in (jobs["deleted"], waiting["deleted"], waiting["deleted"]):
        workspace.ask(_proving(actor, job), "DELETE", f"{API}/jobs/{job.id}").raise_for_status()
    return things, {job.id: job.claim_token for job in (*jobs.values(), *waiting.values())}


def _ended(workspace: Workspace, actor: Actor, job: Job) -> Job:
    asking = _proving(actor, job)

    def ended() -> bool:
        return bool(workspace.ask(asking, "GET", f"{API}/jobs/{job.id}").raise_for_status().json()["status"] in ("done", "failed"))

    wait_for(ended, _SECONDS, "a job of silence to end", every=0.2)
    return workspace.with_audio(actor, job)


def _artefact(workspace: Workspace, job_id: str) -> str:
    """The id of a job's transcript, which only gRPC tells."""
    with grpc.insecure_channel(workspace.mesh.ready["grpc"]["jobs"]) as channel:
        metadata = (("x-api-key", workspace.owner_key),)
        answer = JobsServiceStub(channel).GetJob(GetJobRequest(job_id=job_id), metadata=metadata, timeout=30)
        return str(answer.job.transcript_artefact_id)


def _proving(actor: Actor, job: Job) -> Actor:
    return Actor(actor.name, {**actor.headers, "X-Claim-Token": job.claim_token}, actor.owner) if job.claim_token else actor


def _purchases(workspace: Workspace, actor: Actor, owner: str) -> Iterator[Thing]:
    checkout, wallet = workspace.checkout(actor)
    yield Thing("checkout", checkout, owner)
    if wallet:
        yield Thing("wallet", wallet, owner)


def _detection(workspace: Workspace, actor: Actor) -> list[Thing]:
    """One of each kind; nothing is left of a second dataset, nor of a second model."""
    living, deleted = (everything if actor.manages else labelled)(workspace, actor), labelled(workspace, actor)
    if actor.manages:
        confirm_file(workspace, actor, living)
    workspace.ask(actor, "DELETE", f"{API}/datasets/{deleted['dataset_id']}").raise_for_status()
    things = [Thing(DETECTION[name], thing_id, actor.owner, around=living) for name, thing_id in living.items()]
    things += [Thing(DETECTION[name], thing_id, actor.owner, "deleted", around=deleted) for name, thing_id in deleted.items()]
    return things + (_trained(workspace, actor) if actor.manages else [])


def _trained(workspace: Workspace, actor: Actor) -> list[Thing]:
    """A training, ended before it could learn anything, and a model that was deleted."""
    dataset, model_id = trainable(workspace, actor), placed_model(workspace)
    order = training(workspace, actor, dataset)
    end_training(workspace, actor, order)
    workspace.ask(actor, "DELETE", f"{API}/models/{model_id}").raise_for_status()
    return [Thing("training", order, actor.owner, around=dataset), Thing("model", model_id, actor.owner, "deleted")]


def _keys(workspace: Workspace) -> Iterator[Thing]:
    living, ended = workspace.key(), workspace.key()
    workspace.ask(workspace.owner(), "DELETE", f"{API}/auth/api-keys/{ended}").raise_for_status()
    yield Thing("key", living, "workspace")
    yield Thing("key", ended, "workspace", "deleted")
