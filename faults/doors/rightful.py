"""The same requests by whoever may send them: a matrix of refusals says nothing unless its requests are good ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from faults.doors.belongings import USER, Belongings
from faults.doors.declared import Door
from faults.doors.tenants import API, SILENCE, Actor, Job


@dataclass(frozen=True)
class Rightful:
    """The first workspace's people at their own doors."""

    first: Belongings

    def enter(self, door: Door) -> str:
        """Ask for one's own; empty when that is granted, else what was answered."""
        actor, value, query = self._own(door)
        path, content = door.request(value)
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
        return lost

    def _own(self, door: Door) -> tuple[Actor, str, str]:
        """Who asks, for what, with which permission in the query."""
        mine, kind = self.first.workspace, door.place.kind
        if kind == "claim":
            return mine.user(USER), mine.announced_job(mine.guest()).claim_token, ""
        if kind == "key":
            return mine.owner(), mine.key(), ""
        if kind in ("job", "media"):
            return self._own_job(door)
        return mine.owner(), next(thing.id for thing in self.first.of(kind) if thing.owner == "workspace"), ""

    def _own_job(self, door: Door) -> tuple[Actor, str, str]:
        """An ended one to read, a fresh one to change."""
        owner = self.first.workspace.owner()
        if door.operation.method == "GET":
            found = next(thing for thing in self.first.of(door.place.kind) if (thing.owner, thing.state) == ("workspace", "living"))
            return owner, found.id, found.query
        fresh = self.first.workspace.announced_job(owner)
        if door.operation.method == "POST":
            self._upload(fresh)
        return (owner, fresh.media_id, fresh.query) if door.place.kind == "media" else (owner, fresh.id, "")

    def _upload(self, job: Job) -> None:
        answer = self.first.workspace.client.put(f"{API}/uploads/{job.media_id}?{job.query}", content=SILENCE.read_bytes())
        answer.raise_for_status()
