"""Load: several careful clients at once, who submit, read, repeat and cancel, each by choices of its own seed."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from faults.client import Client, Reply
from faults.history import Recorder
from faults.sounds import Sounds
from services.mesh.ids import new_id
from tests.e2e.mesh import Mesh


@dataclass(frozen=True)
class Mix:
    """How often a client does what, as shares of its jobs.

    refused: orders that must be refused. silent: recordings without speech. longer: of several seconds. replayed: sent again with the
    same key. cancelled: deleted at once. removed: deleted when done.
    """

    refused: float = 0.05
    silent: float = 0.35
    longer: float = 0.05
    replayed: float = 0.15
    cancelled: float = 0.1
    removed: float = 0.05


@dataclass
class Tally:
    """What the clients have reached so far."""

    accepted: int = 0
    ended: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, *, accepted: int = 0, ended: int = 0) -> None:
        """Count, from any thread."""
        with self._lock:
            self.accepted += accepted
            self.ended += ended


@dataclass(frozen=True)
class Load:
    """A kind of load.

    pause_seconds: between two jobs of one client. look_seconds: between two looks at a job. follow_seconds: after which a client
    turns to its next job although the last has not ended.
    """

    mesh: Mesh
    recorder: Recorder
    sounds: Sounds
    seed: int
    clients: int = 4
    mix: Mix = field(default_factory=Mix)
    pause_seconds: float = 0.1
    look_seconds: float = 0.5
    follow_seconds: float = 300.0

    @contextmanager
    def running(self) -> Iterator[Tally]:
        """Within, the clients are at work; afterwards none has a call in flight."""
        over, tally, occasion = threading.Event(), Tally(), new_id()
        with ThreadPoolExecutor(self.clients, "client") as pool:
            working = [pool.submit(self._work, f"client-{number}", occasion, tally, over) for number in range(self.clients)]
            try:
                yield tally
            finally:
                over.set()
        for client in working:
            client.result()

    def _work(self, name: str, occasion: str, tally: Tally, over: threading.Event) -> None:
        chance, client = random.Random(f"{self.seed} {name}"), Client(name, self.mesh, self.recorder, over)
        try:
            number = 0
            while not client.pause(self.pause_seconds):
                self._one_job(client, chance, f"{name}:{occasion}:{number}", tally)
                number += 1
        finally:
            client.close()

    def _one_job(self, client: Client, chance: random.Random, key: str, tally: Tally) -> None:
        # Every choice is made before the first answer, so that no answer shifts the choices after it.
        draws = {name: chance.random() < share for name, share in vars(self.mix).items()}
        if draws["refused"]:
            client.submit(self.sounds.silence, key, "refused_submit", language="xx")
            return
        order = self._order(client, draws, key)
        job_id = order().job_id
        if not job_id:
            return
        tally.add(accepted=1)
        if draws["replayed"]:
            order()
        if draws["cancelled"]:
            client.delete(job_id)
        if client.follow(job_id, self.follow_seconds, self.look_seconds) == "done":
            tally.add(ended=1)
            client.result(job_id)
            if draws["removed"]:
                client.delete(job_id)

    def _order(self, client: Client, draws: dict[str, bool], key: str) -> Callable[[], Reply]:
        path = self.sounds.silence if draws["silent"] else self.sounds.longer if draws["longer"] else self.sounds.speech
        return lambda: client.submit(path, key)
