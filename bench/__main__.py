"""`python -m bench`: run the benchmarks and print their figures beside baselines and targets."""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import uvloop
from rich.console import Console

from bench import batching, detection, encryption, footprint, lifecycle, overhead, parts, reads, row_security, submit, tracing, upload
from bench.asr import run as asr
from bench.asr.checkpoint import SIZES
from bench.benchmark import LONG, SHORT, Benchmark, Effort
from bench.report import show
from services.mesh.telemetry import configure_logging

BENCHMARKS = (
    Benchmark("upload", "large files in and out: rate, memory, other requests meanwhile", upload.run),
    Benchmark("submit", "accepting a job, on SQLite and Postgres, beside the database's raw commits", submit.run),
    Benchmark("reads", "reading a job through the gateway, beside a plain Starlette route", reads.run),
    Benchmark("row-security", "a row of Postgres with row security, beside the same without it", row_security.run),
    Benchmark("tracing", "the same call with traces off, of one request in a hundred, and of every request", tracing.run),
    Benchmark("encryption", "the same call with mutual TLS between the services, beside plain text", encryption.run),
    Benchmark("footprint", "memory and time to ready of the idle mesh", footprint.run),
    Benchmark("lifecycle", "a second of silence from submit to done, beside the same work without the platform", lifecycle.run),
    Benchmark("batching", "eight jobs at once over Triton, beside the same jobs one by one", batching.run),
    Benchmark("parts", "a batch of windows of a small Whisper in parts, a core for each, beside the whole on all cores", parts.run),
    Benchmark("overhead", "ten minutes of speech through the mesh over Triton, beside its engine's calls alone", overhead.run),
    Benchmark("detection", "a detector trained on generated recordings, beside one rule per type", detection.run),
    Benchmark("asr", "Whisper's sizes with random weights on one thread, beside CTranslate2 and transformers", asr.run),
)


def main() -> None:
    """Run what was asked for."""
    arguments = _parser().parse_args()
    if arguments.list:
        for benchmark in BENCHMARKS:
            print(f"{benchmark.name:<12} {benchmark.summary}")
        return
    chosen = _chosen(arguments.only)
    configure_logging("bench", "error")
    console = Console(width=None if sys.stdout.isatty() else 140)
    effort = replace(SHORT if arguments.short else LONG, sizes=arguments.sizes.split(","), device=arguments.device)
    console.print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; medians of {effort.rounds} interleaved rounds")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for benchmark in chosen:
            runner.run(_run(benchmark, effort, console))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", default="", metavar="NAMES", help="names of benchmarks, separated by commas")
    parser.add_argument("--short", action="store_true", help="less of everything; figures are rough")
    parser.add_argument("--sizes", default="tiny,base", metavar="NAMES", help=f"for asr: of {', '.join(SIZES)}")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="for asr: cuda measures fp16 on a GPU")
    parser.add_argument("--list", action="store_true", help="list the benchmarks")
    return parser


def _chosen(names: str) -> Sequence[Benchmark]:
    wanted = [name for name in names.split(",") if name]
    known = {benchmark.name: benchmark for benchmark in BENCHMARKS}
    if unknown := [name for name in wanted if name not in known]:
        sys.exit(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in wanted] or BENCHMARKS


async def _run(benchmark: Benchmark, effort: Effort, console: Console) -> None:
    with tempfile.TemporaryDirectory(prefix=f"steno-bench-{benchmark.name}-") as folder:
        show(f"{benchmark.name}: {benchmark.summary}", await benchmark.run(effort, Path(folder)), console)


if __name__ == "__main__":
    main()
