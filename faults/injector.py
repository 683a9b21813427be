"""Faults that come at random, all of them chosen by the seed before the first is done."""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import httpx2
import psutil
import psycopg

from faults.meshes import World

SERVICES = ("billing", "storage", "jobs", "inference", "gateway", "nats")
# A process below a service: one that runs models, one that reads media.
BELOW: Mapping[str, str] = {"engine": "inference", "sandbox": "storage"}
_KILLED_SHARE = 0.35
_SHORT_STOP_SECONDS = (0.05, 0.8)
_LONG_STOP_SECONDS = (2.0, 8.0)
_LONG_STOP_SHARE = 0.03
_TOGETHER_SHARE = 0.15
_STOPS_AT_ONCE = 16
_RECOVERY_SECONDS = 12.0
_LOOK_SECONDS = 0.2
_LOOK_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True)
class Fault:
    """One fault.

    gap_seconds: after the one before; a kill with a gap also waits for the mesh to have recovered. pick: which of several processes,
    as a share of them. seconds: of a stop.
    """

    number: int
    gap_seconds: float
    victim: str
    action: Literal["kill", "stop"]
    seconds: float
    pick: float


def schedule(seed: int, victims: tuple[str, ...], mean_gap_seconds: float) -> Iterator[Fault]:
    """The faults of a seed, without end: the n-th is the same in every run."""
    chance = random.Random(seed)
    number = 0
    while True:
        number += 1
        together = chance.random() < _TOGETHER_SHARE
        gap_seconds = chance.uniform(0.2, 1.8) * mean_gap_seconds
        victim = chance.choice(victims)
        action: Literal["kill", "stop"] = "kill" if chance.random() < _KILLED_SHARE else "stop"
        bounds = _LONG_STOP_SECONDS if chance.random() < _LONG_STOP_SHARE else _SHORT_STOP_SECONDS
        yield Fault(number, 0.0 if together else gap_seconds, victim, action, chance.uniform(*bounds), chance.random())


@dataclass
class Injector:
    """Does the faults of a schedule to a mesh, and writes down each with its time."""

    world: World
    log: Path
    done: int = 0

    def inject(self, faults: Iterator[Fault], count: int, over: threading.Event) -> None:
        """Until so many were done, or it is over; a victim that is not there at that moment counts for nothing."""
        with ThreadPoolExecutor(_STOPS_AT_ONCE, "stop") as stops, self.log.open("a") as log:
            for fault in faults:
                if self.done >= count or over.wait(fault.gap_seconds):
                    return
                if fault.action == "kill" and fault.gap_seconds:
                    self._let_recover(over)
                pid = self._find(fault)
                if pid is not None and self._do(fault, pid, stops):
                    self.done += 1
                log.write(json.dumps({**asdict(fault), "pid": pid, "time": time.time()}) + "\n")
                log.flush()

    def _let_recover(self, over: threading.Event) -> None:
        """Wait until the mesh is ready, but not for ever: without it nothing would be under way when the next process dies."""
        until = time.monotonic() + _RECOVERY_SECONDS
        url = f"{self.world.mesh.ready['url']}/readyz"
        while time.monotonic() < until and not over.wait(_LOOK_SECONDS):
            with suppress(httpx2.TransportError):
                if httpx2.get(url, timeout=_LOOK_TIMEOUT_SECONDS, trust_env=False).is_success:
                    return

    def _do(self, fault: Fault, pid: int, stops: ThreadPoolExecutor) -> bool:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL if fault.action == "kill" else signal.SIGSTOP)
            if fault.action == "stop":
                stops.submit(_continue_later, pid, fault.seconds)
            return True
        return False

    def _find(self, fault: Fault) -> int | None:
        if fault.victim in SERVICES:
            return self.world.mesh.child_pid(fault.victim)
        if fault.victim == "postgres":
            return _pick(_postmaster(self.world), fault.pick)
        return _pick(self.world.mesh.child_pid(BELOW[fault.victim]), fault.pick)


def _continue_later(pid: int, seconds: float) -> None:
    time.sleep(seconds)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _pick(parent: int | None, share: float) -> int | None:
    """One of the processes below another."""
    try:
        below = sorted(child.pid for child in psutil.Process(parent).children(recursive=True)) if parent is not None else []
    except psutil.Error:
        return None
    return below[int(share * len(below))] if below else None


def _postmaster(world: World) -> int | None:
    """The process above every process of the database; None while it recovers."""
    url = world.stores.databases["jobs"].replace("+psycopg", "")
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            row = connection.execute("SELECT pg_backend_pid()").fetchone()
            parent = psutil.Process(row[0]).parent() if row else None
    except (psycopg.OperationalError, psutil.Error):
        return None
    return parent.pid if parent else None


@contextmanager
def injecting(injector: Injector, faults: Iterator[Fault], count: int) -> Iterator[threading.Thread]:
    """Within, faults happen; afterwards every stopped process goes on. Yields the thread, which ends with the last fault."""
    over = threading.Event()
    thread = threading.Thread(target=injector.inject, args=(faults, count, over), name="injector")
    thread.start()
    try:
        yield thread
    finally:
        over.set()
        thread.join()
