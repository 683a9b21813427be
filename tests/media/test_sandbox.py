"""A child that turns hostile harms nobody, and the next one works."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from services.media.confinement import Isolation, demand
from services.media.errors import MediaError, SandboxKilled, SandboxUnavailable, TaskFailed
from services.media.limits import MEBIBYTE, Limits
from services.media.sandbox import Sandbox, open_sandbox
from services.media.seccomp import ARCHITECTURES, JUMP_IF_EQUAL, REFUSE, RETURN, build_program

pytestmark = pytest.mark.asyncio(loop_scope="module")

TIMEOUT_SECONDS = 60
REPOSITORY = Path(__file__).resolve().parents[2]

UVLOOP_SERVICE = """
import asyncio, os, sys, threading, uvloop
from services.media.probe import probe
from services.media.sandbox import open_sandbox

async def serve():
    async with open_sandbox() as one, open_sandbox() as other:
        descriptor = os.open(sys.argv[1], os.O_RDONLY)
        found = await asyncio.gather(*(probe(box, descriptor, 60_000) for box in (one, other) * 4))
        print({each.duration_ms for each in found}, "av" in sys.modules)

stop = threading.Event()
threads = [threading.Thread(target=stop.wait) for _ in range(4)]
for thread in threads:
    thread.start()
try:
    uvloop.run(serve())
finally:
    stop.set()
"""


SERVICE = """
import asyncio
from services.media.sandbox import open_sandbox

async def serve():
    async with open_sandbox() as sandbox:
        print(sandbox.server.process.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(serve())
"""


async def run(sandbox: Sandbox, name: str, **options: object) -> dict[str, object]:
    """The answer of a function of `hostile_tasks`."""
    options = {"timeout_seconds": TIMEOUT_SECONDS, **options}
    completed = await sandbox.run(f"hostile_tasks:{name}", **options)  # type: ignore[arg-type]
    return dict(completed.result)


async def assert_works(sandbox: Sandbox) -> None:
    """The next run is answered."""
    assert await run(sandbox, "describe_self")


async def until(condition: Callable[[], bool]) -> None:
    """Wait for the condition, up to the time limit."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


def exists(pid: int) -> bool:
    """Whether the process is there, and not only its entry until init collects it."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_child_reaches_no_network(sandbox: Sandbox) -> None:
    connections: list[object] = []
    listener = await asyncio.start_server(lambda *ends: connections.append(ends), "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        outcomes = await run(sandbox, "try_network", arguments={"port": port})
    assert set(outcomes.values()) == {"PermissionError"}
    assert connections == []


async def test_child_starts_and_signals_no_process(sandbox: Sandbox) -> None:
    outcomes = await run(sandbox, "try_processes")
    assert set(outcomes.values()) == {"PermissionError"}, outcomes


async def test_child_opens_no_file_and_cannot_change_its_input(sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"original")
    path.chmod(0o666)
    descriptor = os.open(path, os.O_RDWR)
    outcomes = await run(sandbox, "try_files", inputs=[descriptor], arguments={"path": str(path)})
    os.close(descriptor)
    assert "done" not in outcomes.values(), outcomes
    assert path.read_bytes() == b"original"


async def test_child_gets_no_executable_memory(sandbox: Sandbox) -> None:
    assert await run(sandbox, "try_executable_memory") == {"mmap": "PermissionError"}


async def test_child_knows_nothing_of_the_service(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STENO_SECRET", "value")
    seen = await run(sandbox, "describe_self")
    assert seen["environment"] == 0
    assert "pytest" not in seen["modules"]  # type: ignore[operator]


async def test_child_reads_what_it_was_given(sandbox: Sandbox, fd_of: Callable[[bytes], int]) -> None:
    assert await run(sandbox, "read_input", inputs=[fd_of(b"12345")]) == {"size": 5}


@pytest.mark.parametrize(
    ("function", "reason", "limits"),
    [
        ("spin", "cpu", Limits(cpu_seconds=1)),
        ("eat_memory", "memory", Limits()),
        ("eat_memory_by_the_page", "memory", Limits()),
        ("crash", "signal SIGSEGV", Limits()),
        ("leave", "exit 7", Limits()),
    ],
)
async def test_death_of_a_child_is_named_and_the_next_run_works(sandbox: Sandbox, function: str, reason: str, limits: Limits) -> None:
    with pytest.raises(SandboxKilled) as caught:
        await run(sandbox, function, limits=limits)
    assert caught.value.reason == reason
    await assert_works(sandbox)


async def test_child_holds_at_most_512_megabytes(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxKilled, match="memory"):
        await run(sandbox, "eat_memory_by_the_page")
    assert 100_000_000 < sandbox.peak_rss_bytes <= 512_000_000


async def test_child_is_held_by_every_wall(sandbox: Sandbox) -> None:
    pids: list[int] = []
    task = asyncio.create_task(run(sandbox, "hang", on_progress=pids.append, limits=Limits(cpu_seconds=7)))
    await until(lambda: bool(pids))
    folder = Path(f"/proc/{pids[0]}")
    limits = {line[:25].strip(): line[25:].split()[:2] for line in (folder / "limits").read_text().splitlines()[1:]}
    status = dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines())
    network = await asyncio.to_thread((folder / "net" / "dev").read_text)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert limits["Max address space"] == [str(480 * MEBIBYTE)] * 2
    assert limits["Max cpu time"] == ["7", "8"]
    assert limits["Max file size"] == limits["Max processes"] == limits["Max core file size"] == ["0", "0"]
    assert limits["Max open files"] == ["32", "32"]
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
    assert int(status["CapEff"], 16) == 0
    assert set(status["Uid"].split()).isdisjoint({"0"})
    assert [line.split(":")[0].strip() for line in network.splitlines()[2:]] == ["lo"]


async def test_hanging_child_is_killed_at_the_time_limit(sandbox: Sandbox) -> None:
    pids: list[int] = []
    with pytest.raises(SandboxKilled, match="timeout"):
        await run(sandbox, "hang", timeout_seconds=0.3, on_progress=pids.append)
    await until(lambda: not exists(pids[0]))
    await assert_works(sandbox)


async def test_cancelled_run_kills_its_child(sandbox: Sandbox) -> None:
    pids: list[int] = []
    task = asyncio.create_task(run(sandbox, "hang", on_progress=pids.append))
    await until(lambda: bool(pids))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not exists(pids[0]))
    await assert_works(sandbox)


async def test_child_killed_from_outside_is_a_sandbox_death(sandbox: Sandbox) -> None:
    def kill(pid: int) -> None:
        os.kill(pid, signal.SIGKILL)

    with pytest.raises(SandboxKilled, match="signal SIGKILL"):
        await run(sandbox, "hang", on_progress=kill)
    await assert_works(sandbox)


async def test_dead_fork_server_is_replaced(sandbox: Sandbox) -> None:
    assert sandbox.server is not None
    sandbox.server.process.kill()
    sandbox.server.process.wait()
    await assert_works(sandbox)


async def test_fork_server_that_dies_takes_its_children_along(sandbox: Sandbox) -> None:
    pids: list[int] = []
    task = asyncio.create_task(run(sandbox, "hang", on_progress=pids.append))
    await until(lambda: bool(pids))
    assert sandbox.server is not None
    sandbox.server.process.kill()
    with pytest.raises(SandboxKilled):
        await task
    await until(lambda: not exists(pids[0]))


async def test_closed_sandbox_leaves_no_process_and_tells_of_the_death(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    pids: list[int] = []
    causes: list[str] = []
    async with open_sandbox(on_death=causes.append) as sandbox:
        task = asyncio.create_task(run(sandbox, "hang", on_progress=pids.append))
        await until(lambda: bool(pids))
        assert sandbox.server is not None
        pids.append(sandbox.server.process.pid)
    with pytest.raises(SandboxKilled):
        await task
    assert len(causes) == 1
    assert causes[0] in ("server", "signal")
    await until(lambda: not any(exists(pid) for pid in pids))


@pytest.mark.parametrize(
    "text",
    [
        "nonsense\n",
        "[]\n",
        '{"result": []}\n',
        '{"result": {}, "more": 1}\n',
        '{"progress": -1}\n',
        '{"result": {"rate": NaN}}\n',
        '{"error": ["NO_SUCH_CODE", ""]}\n',
        "[" * 60_000,
        "x" * 70_000,
    ],
)
async def test_answer_that_is_no_answer_is_refused(sandbox: Sandbox, text: str) -> None:
    with pytest.raises(SandboxKilled, match="protocol"):
        await run(sandbox, "write_raw", arguments={"text": text[:50_000], "times": -(-len(text) // 50_000)})
    await assert_works(sandbox)


async def test_output_is_bounded(sandbox: Sandbox, pcm_fd: int) -> None:
    limits = Limits(file_size_bytes=8 * MEBIBYTE)
    with pytest.raises(TaskFailed, match="File too large"):
        await run(sandbox, "fill_output", outputs=[pcm_fd], limits=limits)
    assert os.fstat(pcm_fd).st_size == 8 * MEBIBYTE


async def test_unknown_function_is_reported_not_fatal(sandbox: Sandbox) -> None:
    with pytest.raises(TaskFailed, match="no_such_function"):
        await run(sandbox, "no_such_function")
    await assert_works(sandbox)


async def test_no_more_children_than_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    pids: list[int] = []
    async with open_sandbox(concurrency=1) as sandbox:
        first = asyncio.create_task(run(sandbox, "hang", on_progress=pids.append))
        await until(lambda: bool(pids))
        second = asyncio.create_task(run(sandbox, "describe_self"))
        done, _ = await asyncio.wait([second], timeout=0.2)
        assert not done
        first.cancel()
        assert await second
        await asyncio.gather(first, return_exceptions=True)


async def test_many_runs_leave_no_descriptor_behind(sandbox: Sandbox) -> None:
    await assert_works(sandbox)
    before = len(list(Path("/dev/fd").iterdir()))
    outcomes = await asyncio.gather(*(run(sandbox, name) for name in ("describe_self", "crash") * 20), return_exceptions=True)
    assert sum(isinstance(outcome, MediaError) for outcome in outcomes) == 20
    await until(lambda: len(list(Path("/dev/fd").iterdir())) <= before)


async def test_two_sandboxes_work_under_uvloop_with_threads_and_without_libav(write: Callable[..., Path]) -> None:
    path = write("wav", 1_500)
    finished = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", UVLOOP_SERVICE, str(path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (finished.stdout, finished.stderr) == ("{1500} False\n", "")


async def test_killed_service_leaves_no_fork_server() -> None:
    service = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVICE, cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE)
    assert service.stdout is not None
    server_pid = int(await asyncio.wait_for(service.stdout.readline(), TIMEOUT_SECONDS))
    assert exists(server_pid)
    service.kill()
    await service.wait()
    await until(lambda: not exists(server_pid))


async def test_no_wall_at_all_is_refused_unless_allowed() -> None:
    bare = Isolation(seccomp=False, network=False, user=True)
    with pytest.raises(SandboxUnavailable):
        demand(bare, Limits())
    demand(bare, Limits(require_isolation=False))
    demand(Isolation(seccomp=False, network=True, user=False), Limits())


async def test_filter_refuses_every_call_that_is_not_listed() -> None:
    for architecture in ARCHITECTURES.values():
        program = build_program(architecture, (3,))
        assert program[-1] == (RETURN, 0, 0, REFUSE)
        allowed = {k for code, _, _, k in program if code == JUMP_IF_EQUAL}
        assert len(architecture.plain) == len(set(architecture.plain)) == 28
        assert allowed == {architecture.audit, *architecture.plain, 3, architecture.write, architecture.pwrite} | {
            architecture.mmap,
            architecture.mprotect,
        }
