"""What strangers are answered: for things of others the same bytes as for things that are not there."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import httpx2
import psutil

from faults.doors.belongings import OTHER_USER, USER, Belongings, Thing, random_value
from faults.doors.declared import DETECTION, Door
from faults.doors.detection import Ids
from faults.doors.tenants import Actor
from services.mesh.ids import new_id

# These differ from request to request whatever is asked.
_OF_THE_REQUEST = frozenset({"date", "x-request-id"})
# Ending a key that the caller has ended before is no error; nobody else's key is told by that.
_DELETED_IS_TOLD = frozenset({"key"})
# What is one person's and not another's of the same workspace.
_PERSONAL = frozenset({"job", "checkout", *DETECTION.values()})
_UPLOADED = b"bytes that nobody asked for"

Answer = tuple[int, tuple[tuple[str, str], ...], bytes]


@dataclass
class Tally:
    """What was compared. unequal: the cells that told something; leaks: answers that held something of others."""

    cells: Counter[str] = field(default_factory=Counter)
    unequal: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)

    def compare(self, what: str, kind: str, told: object, nothing: object) -> None:
        """One cell."""
        self.cells[kind] += 1
        if told != nothing:
            self.unequal.append(f"{what}: {told!r:.300} instead of {nothing!r:.300}")


@dataclass(frozen=True)
class Strangers:
    """Everybody who may not see what the first workspace has, and its own people, who may not see what is each other's.

    everything: whether each asks for all that there is, or for one living and one deleted thing of each kind.
    """

    first: Belongings
    second: Belongings
    tally: Tally
    chance: random.Random
    everything: bool

    def ask(self, door: Door) -> None:
        """Every cell of one place of one operation."""
        if door.place.kind == "media":
            self._ask_signed(door)
            return
        for actor in self.others():
            hidden = self._some(self.first.of(door.place.kind))
            self._cells(door, actor, [*hidden, *self._some(self._own_deleted(door, actor))])
            self._within_own(door, actor, hidden)
        for actor in self.neighbours() if door.place.kind in _PERSONAL else ():
            self._cells(door, actor, self._some([thing for thing in self.first.of(door.place.kind) if thing.owner != actor.owner]))

    def others(self) -> Iterator[Actor]:
        """People of the second workspace; two of them have names that the first workspace knows as well."""
        mine = self.second.workspace
        yield from (mine.owner(), mine.reader(), mine.user(USER), mine.named(OTHER_USER), mine.guest())
        claims = [claim for claim in self.first.claims.values() if claim]
        yield from (mine.guest(claim) for claim in (claims if self.everything else claims[:1]))

    def neighbours(self) -> Iterator[Actor]:
        """People of the first workspace itself. Its guests without a claim are told to sign in, which nobody outside is."""
        mine = self.first.workspace
        yield from (mine.owner(), mine.user(USER), mine.user(OTHER_USER), mine.named(OTHER_USER), mine.guest("claim of nothing"))

    def look_around(self, prefix: str, path: str) -> None:
        """What the second workspace reads of its own holds nothing of the first."""
        for actor in self.others():
            answer = self.second.workspace.ask(actor, "GET", prefix + path)
            self._check_leaks(f"GET {prefix}{path} as {actor.name}", answer.text, "")

    def _some(self, things: Sequence[Thing]) -> Sequence[Thing]:
        if self.everything:
            return things
        by_state = [[thing for thing in things if thing.state == state] for state in ("living", "deleted")]
        return [self.chance.choice(of_state) for of_state in by_state if of_state]

    def _own_deleted(self, door: Door, actor: Actor) -> list[Thing]:
        if door.place.kind in _DELETED_IS_TOLD:
            return []
        return [thing for thing in self.second.of(door.place.kind) if thing.state == "deleted" and thing.owner == actor.owner]

    def _cells(self, door: Door, actor: Actor, hidden: Sequence[Thing]) -> None:
        nothing = self._answer(door, actor, random_value(door.place.kind))
        for thing in hidden:
            what = f"{door} as {actor.name} for a {thing.state} {thing.kind} of {thing.owner}"
            self.tally.compare(what, door.contract, self._answer(door, actor, thing.id, thing.around), nothing)
        self.tally.compare(
            f"{door} as {actor.name} twice", door.contract, self._answer(door, actor, random_value(door.place.kind)), nothing
        )

    def _within_own(self, door: Door, actor: Actor, hidden: Sequence[Thing]) -> None:
        """The same ids where everything around them is the actor's own."""
        mine = [thing for thing in self.second.of(door.place.kind) if (thing.owner, thing.state) == (actor.owner, "living")]
        own = next((thing.around for thing in mine if thing.around), None)
        if own is None:
            return
        nothing = self._answer(door, actor, random_value(door.place.kind), own)
        for thing in hidden:
            what = f"{door} as {actor.name} for a {thing.state} {thing.kind} of {thing.owner} among its own"
            self.tally.compare(what, door.contract, self._answer(door, actor, thing.id, own), nothing)

    def _answer(self, door: Door, actor: Actor, value: str, around: Ids = MappingProxyType({})) -> Answer:
        path, content = door.request(value, around)
        answer = self.second.workspace.ask(actor, door.operation.method, path, **content)
        self._check_leaks(f"{door} as {actor.name}", answer.text, value)
        return plain(answer)

    def _check_leaks(self, what: str, text: str, asked: str) -> None:
        if any(secret in text for secret in self.first.secrets() - {asked}):
            self.tally.leaks.append(what)

    def _ask_signed(self, door: Door) -> None:
        """Signed URLs ask for no key: a permission for one thing is none for another, and none once it is deleted."""
        client = self.second.workspace.client
        for permission in self._permissions():
            nothing = plain(_signed(client, door.operation.method, door.request(new_id())[0], permission))
            for thing in self._not_of(permission):
                told = plain(_signed(client, door.operation.method, door.request(thing.id)[0], permission))
                self.tally.compare(f"{door} for a {thing.state} media of {thing.owner}", door.contract, told, nothing)

    def ask_data_plane(self) -> None:
        """The same at storage's own listener, which the mesh's clients do not reach."""
        base = data_plane(self.first)
        with httpx2.Client(base_url=base, trust_env=False, timeout=60.0) as client:
            for method in ("GET", "HEAD", "PUT"):
                for kind in ("media", "artefact"):
                    self._ask_plane(client, method, kind)

    def _ask_plane(self, client: httpx2.Client, method: str, kind: str) -> None:
        for permission in self._permissions():
            nothing = plain(_signed(client, method, f"/{_plural(kind)}/{new_id()}", permission))
            for thing in [thing for thing in self._not_of(permission) + self.first.of("artefact") if thing.kind == kind]:
                told = plain(_signed(client, method, f"/{_plural(kind)}/{thing.id}", permission))
                if not (thing.query == permission and thing.state == "deleted"):
                    self.tally.compare(f"{method} {kind} at the data plane", "data plane", told, nothing)

    def _permissions(self) -> list[str]:
        """Good ones of the second workspace, those of the first whose thing is gone, and two that never were."""
        good = [thing.query for thing in self.second.of("media") if thing.state == "living"]
        ended = [thing.query for thing in self.first.of("media") if thing.state == "deleted"]
        if not self.everything:
            good, ended = good[:1], ended[:1]
        return [*good, *ended, good[0][:-1] + ("A" if good[0][-1] != "A" else "B"), ""]

    def _not_of(self, permission: str) -> list[Thing]:
        return [thing for thing in self.first.of("media") if thing.query != permission or thing.state == "deleted"]


def data_plane(belongings: Belongings) -> str:
    """Where storage's own listener is."""
    pid = belongings.workspace.mesh.child_pid("storage")
    assert pid is not None
    return psutil.Process(pid).environ()["STENO_STORAGE_DATA_URL"]


def plain(answer: httpx2.Response) -> Answer:
    """All of it but what is of the request alone."""
    headers = sorted((name, value) for name, value in answer.headers.multi_items() if name not in _OF_THE_REQUEST)
    return answer.status_code, tuple(headers), answer.content


def _signed(client: httpx2.Client, method: str, path: str, permission: str) -> httpx2.Response:
    content = {"content": _UPLOADED} if method == "PUT" else {}
    return client.request(method, f"{path}?{permission}", **content)  # type: ignore[arg-type]


def _plural(kind: str) -> str:
    return kind if kind == "media" else f"{kind}s"
