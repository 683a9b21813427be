"""A call through the gateway with mutual TLS between all services, beside the same in plain text: two meshes, asked in turn."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.benchmark import Effort
from bench.hop import row, running_hop
from bench.report import Row, at_least, at_most, interleaved

_NAME = "mTLS : plain text"


async def run(effort: Effort, folder: Path) -> Sequence[Row]:
    """Connections are there already: what is measured is encrypting and comparing callers, not handshakes."""
    with ExitStack() as stack:
        ways = {"encrypted": True, "plain": False}
        hops = {name: stack.enter_context(running_hop(folder / name, {}, effort.seconds, tls=tls)) for name, tls in ways.items()}
        for hop in hops.values():
            await hop.measured()
        costs = await interleaved(effort.rounds, {name: hop.measured for name, hop in hops.items()})
    subject, baseline = costs["encrypted"], costs["plain"]
    return [
        row(_NAME, "req/s", "rate", subject, baseline, at_least(0.85)),
        # The same bound, of what a busy machine can measure.
        row(_NAME, "ms", "processor", subject, baseline, at_most(1 / 0.85)),
        row(_NAME, "ms", "p50", subject, baseline),
        row(_NAME, "ms", "p99", subject, baseline),
    ]
