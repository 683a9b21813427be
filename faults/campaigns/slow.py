"""Thousands of connections that hardly send anything, beside a client that does."""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor

import httpx2

from faults.campaign import Figure, Options
from faults.edge_mesh import gateway_port, pids, storage_port, unhurried_mesh
from faults.slow_clients import Closure, Phase, besiege, slow_clients
from tests.e2e.mesh import Mesh

_SHORT, _LONG = 200, 2000
_BOUNDS: Mapping[Phase, float] = {"head": 10.0, "body": 30.0}
# Shorter deadlines in the short form, under the same bounds.
_SHORT_DEADLINES = {"STENO_GATEWAY_HEADER_DEADLINE_SECONDS": "2", "STENO_GATEWAY_BODY_DEADLINE_SECONDS": "6"}
_RAMP_SECONDS = 10.0
_EVERY_SECONDS = 0.02
_SIEGE_SECONDS = 180.0
_NEW_CONNECTION_EVERY = 5
_MOST_SLOWER = 2.0


def run(options: Options) -> Sequence[Figure]:
    """The siege; the long form also bounds what it does to the client."""
    count = options.amount(_SHORT, _LONG)
    with unhurried_mesh(options.folder, None if options.long else _SHORT_DEADLINES) as mesh:
        processes = pids(mesh)
        clients = list(slow_clients(count, gateway_port(mesh), storage_port(mesh), mesh.ready["api_key"]))
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            pool.submit(abs, 0).result()
            before = _healthy(mesh, _for_seconds(30.0 if options.long else 2.0))
            siege = pool.submit(besiege, clients, _RAMP_SECONDS if options.long else 1.0)
            during = _healthy(mesh, _until(siege))
            closures = siege.result()
        deaths = sum(pid != processes[name] for name, pid in pids(mesh).items())
        return [*_closed(closures), *_slowed(before, during, bounded=options.long), Figure("processes that died", deaths, at_most=0)]


def _closed(closures: Sequence[Closure]) -> list[Figure]:
    figures = [Figure("slow connections", len(closures), at_least=1)]
    for phase, seconds in _BOUNDS.items():
        held = [closure.seconds for closure in closures if closure.phase == phase]
        late = sum(found > seconds for found in held)
        figures += [
            Figure(f"connections held in the {phase}", len(held), at_least=1),
            Figure(f"open in the {phase} after {seconds:g} s", late, at_most=0),
            Figure(f"the longest in the {phase}", max(held), unit="s"),
        ]
    return figures


def _slowed(before: Sequence[float], during: Sequence[float], *, bounded: bool) -> list[Figure]:
    ratio = _p99(during) / _p99(before)
    return [
        Figure("requests of the healthy client meanwhile", len(during), at_least=1),
        Figure("its p99 before", _p99(before) * 1000, unit="ms"),
        Figure("its p99 meanwhile", _p99(during) * 1000, unit="ms"),
        Figure("how much longer", ratio, at_most=_MOST_SLOWER if bounded else None, unit="times"),
    ]


def _p99(seconds: Sequence[float]) -> float:
    return statistics.quantiles(seconds, n=100)[98]


def _healthy(mesh: Mesh, going_on: Callable[[], bool]) -> list[float]:
    """Seconds of each request, fifty in a second, some on new connections; every one is answered."""
    took, client = list[float](), mesh.client_for(mesh.ready["api_key"])
    due = time.monotonic()
    while going_on():
        if len(took) % _NEW_CONNECTION_EVERY == 0:
            client.close()
            client = mesh.client_for(mesh.ready["api_key"])
        started = time.monotonic()
        response = client.get("/api/v1/me")
        took.append(time.monotonic() - started)
        assert response.status_code == httpx2.codes.OK, response.text
        due = max(due + _EVERY_SECONDS, time.monotonic())
        time.sleep(due - time.monotonic() if due > time.monotonic() else 0)
    client.close()
    return took


def _for_seconds(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() < until


def _until(siege: "Future[list[Closure]]") -> Callable[[], bool]:
    until = time.monotonic() + _SIEGE_SECONDS
    return lambda: not siege.done() and time.monotonic() < until
