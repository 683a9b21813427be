"""The same requests by whoever may send them: a matrix of refusals says nothing unless its requests are good ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from faults.doors.belongings import USER, Belongings, Thing
from faults.doors.declared import DETECTION, Door, Kind
from faults.doors.detection import Ids, everything, placed_model, training
from faults.doors.tenants import API, SILENCE, Actor, Job


@dataclass(frozen=True)
class Rightful:
    """The first workspace's people at their own doors."""

    first: Belongings

    def enter(self, door: Door) -> str:
        """Ask for one's own; empty when that is granted, else what was answered."""
        actor, value, query, around = self._own(door)
        path, content = door.request(value, around)
        if door.operation.method == "PUT":
            content["content"] = SILENCE.read_bytes()
        answer = self.first.workspace.ask(actor, door.operation.method, f"{path}?{query}" if query else path, **content)
        return "" if answer.is_success else f"{door}: {answer.status_code} {answer.text[:200]}"

    def gone(self) -> Sequence[str]:
        """What should be there and is not, after everybody tried to take it."""
        mine = self.first.workspace
        keys = {row["id"] for row in mine.ask(mine.owner(), "GET", f"{API}/auth/api-keys").raise_for_status().json()}
        lost = [thing.id for thing in self.first.of("key") if thing.state == "living" and thing.id not in keys]
        for job in (thing for thing in self.first.of("job") if thing.state == "living"):
            people = {"workspace": mine.owner(), USER: mine.user(USER), "guest": mine.guest(self.first.claims.get(job.id, ""))}
            row = mine.ask(people[job.owner], "GET", f"{API}/jobs/{job.id}")
            if row.status_code != 200 or row.json()["status"] == "cancelled":
                lost.append(job.id)
        living = {self._living("file").around[name] for name in ("dataset_id", "audio_id", "annotation_id", "model_id", "file_id")}
        return [*lost, *(living - self._readable())]

    def _readable(self) -> set[str]:
        """What the owner of the living things of detection is still shown of them."""
        mine, ids = self.first.workspace, self._living("file").around
        dataset, order = f"datasets/{ids['dataset_id']}", f"inference-jobs/{ids['inference_job_id']}"
        paths = (dataset, f"{dataset}/audio", f"{dataset}/annotation-sets/{ids['annotation_set_id']}", f"models/{ids['model_id']}", order)
        texts = [mine.ask(mine.owner(), "GET", f"{API}/{path}").text for path in paths]
        return {each for each in ids.values() if any(f'"id":"{each}"' in text for text in texts)}

    def _own(self, door: Door) -> tuple[Actor, str, str, Ids]:
        """Who asks, for what, with which permission in the query, and what that stands in."""
        mine, kind = self.first.workspace, door.place.kind
        if kind == "claim":
            return mine.user(USER), mine.announced_job(mine.guest()).claim_token, "", {}
        if kind == "key":
            return mine.owner(), mine.key(), "", {}
        if kind in DETECTION.values() or set(DETECTION) & set(door.parameters):
            return self._own_detection(door)
        if kind in ("job", "media"):
            return *self._own_job(door), {}
        return mine.owner(), next(thing.id for thing in self.first.of(kind) if thing.owner == "workspace"), "", {}

    def _own_detection(self, door: Door) -> tuple[Actor, str, str, Ids]:
        """What is there to read; to change, everything anew."""
        mine, name = self.first.workspace, door.place.name
        owner, ended = mine.owner(), self._living("job").id
        trained = self._living("training")
        if door.place.kind == "training":
            order = trained.id if door.operation.method == "GET" else training(mine, owner, trained.around)
            return owner, order, "", {}
        if door.operation.method == "GET":
            around: Ids = self._living("file").around
        elif door.operation.name == "create_training_job":
            around = trained.around
        else:
            around = self._fresh(door)
        ids = {**around, "job_id": ended}
        return owner, ids[name], "", ids

    def _fresh(self, door: Door) -> Ids:
        """For a model that is to go, one that no file waits for."""
        mine = self.first.workspace
        if door.place.kind == "model":
            return {"model_id": placed_model(mine)}
        return everything(mine, mine.owner())

    def _living(self, kind: Kind) -> Thing:
        return next(thing for thing in self.first.of(kind) if (thing.owner, thing.state) == ("workspace", "living"))

    def _own_job(self, door: Door) -> tuple[Actor, str, str]:
        """An ended one to read, a fresh one to change."""
        owner = self.first.workspace.owner()
        if door.operation.method == "GET":
            found = self._living(door.place.kind)
            return owner, found.id, found.query
        fresh = self.first.workspace.announced_job(owner)
        if door.operation.method == "POST":
            self._upload(fresh)
        return (owner, fresh.media_id, fresh.query) if door.place.kind == "media" else (owner, fresh.id, "")

    def _upload(self, job: Job) -> None:
        answer = self.first.workspace.client.put(f"{API}/uploads/{job.media_id}?{job.query}", content=SILENCE.read_bytes())
        answer.raise_for_status()
