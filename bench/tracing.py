"""A call through the gateway with tracing off, at 1 % and at 100 %: three meshes, asked in turn.

`python -m bench.tracing PORT` is their collector.
"""

import http.server
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2

from bench.benchmark import Effort
from bench.hop import Cost, row, running_hop
from bench.report import Row, Target, at_least, at_most, interleaved
from tests.servers import free_port

_START_SECONDS = 30.0
_RATIOS = {"1 %": "0.01", "100 %": "1"}


async def run(effort: Effort, folder: Path) -> Sequence[Row]:
    """What recording costs a request."""
    with ExitStack() as stack:
        url = stack.enter_context(_running_collector())
        environments: dict[str, Mapping[str, str]] = {"off": {"OTEL_SDK_DISABLED": "true"}}
        for name, ratio in _RATIOS.items():
            sampler = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": ratio}
            environments[name] = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, **sampler}
        hops = {
            name: stack.enter_context(running_hop(folder / str(number), environment, effort.seconds))
            for number, (name, environment) in enumerate(environments.items())
        }
        for hop in hops.values():
            await hop.measured()
        return _rows(await interleaved(effort.rounds, {name: hop.measured for name, hop in hops.items()}))


def _rows(costs: Mapping[str, Sequence[Cost]]) -> list[Row]:
    def figure(share: str, unit: str, name: str, target: Target | None = None) -> Row:
        return row(f"{share} recorded : tracing off", unit, name, costs[share], costs["off"], target)

    return [
        figure("1 %", "req/s", "rate", at_least(0.85)),
        # The same bound, of what a busy machine can measure.
        figure("1 %", "ms", "processor", at_most(1 / 0.85)),
        figure("1 %", "ms", "p99"),
        figure("100 %", "req/s", "rate"),
        figure("100 %", "ms", "processor"),
        figure("100 %", "ms", "p99"),
    ]


@contextmanager
def _running_collector() -> Iterator[str]:
    """A collector in a process of its own, which takes everything and keeps nothing."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.tracing", str(port)])
    try:
        _await(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def _await(url: str) -> None:
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            httpx2.post(url, content=b"", trust_env=False)
            return
        except httpx2.TransportError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


class _Sink(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), _Sink).serve_forever()
