"""A backup taken under load, restored on another machine: every job of before it is there, whole, and charged once."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from faults.campaign import Figure, Options
from faults.history import Call, Recorder, recording
from faults.load import Load, Mix
from faults.meshes import (
    HURRIED,
    WITH_DATABASE,
    Stores,
    World,
    compiled,
    distributed_environment,
    embedded_stores,
    s3_server,
)
from faults.sounds import make_sounds
from faults.trial import Trial, conclude, keep
from tests.e2e.mesh import STENO, running_mesh
from tests.servers import new_postgres_database, postgres_server

SHORT_SECONDS, LONG_SECONDS = 4, 60
_CLIENTS = 4
_MIX = Mix(silent=0.7, longer=0.0, cancelled=0.1, removed=0.1)
_COMMAND_SECONDS = 300


class Doubtful(Recorder):
    """Writes down that nobody knows what came of a request: the backup may be older than the answer."""

    def answered(self, call: Call, status: int, job_id: str, body: Mapping[str, object]) -> None:
        """Note that it was sent, and no more."""
        self.lost(call, f"answered {status} beside a backup")


@dataclass(frozen=True)
class Machines:
    """Two machines, the second with nothing on it: the environment and the stores of each, by its folder."""

    environments: Sequence[Mapping[str, str]]
    stores: Sequence[Stores]


def run(options: Options) -> Sequence[Figure]:
    """Load, a backup in the midst of it, more load, everything killed, the backup restored elsewhere."""
    folder = options.folder / "trial"
    folders = [folder / "first", folder / "second"]
    for one in folders:
        one.mkdir(parents=True)
    sounds, backup = make_sounds(options.folder / "sounds"), options.folder / "backup.tar"
    try:
        with _machines(options, folders) as machines, recording(folder / "history.jsonl") as recorder:
            with running_mesh(folders[0], machines.environments[0]) as mesh:
                seconds = options.amount(SHORT_SECONDS, LONG_SECONDS)
                with Load(mesh, recorder, sounds, options.seed, _CLIENTS, _MIX).running():
                    time.sleep(seconds)
                with (folder / "history.jsonl").open("ab", buffering=0) as file:
                    doubtful = Doubtful(file)
                    with Load(mesh, doubtful, sounds, options.seed + 1, _CLIENTS, _MIX).running():
                        took = _steno(machines.environments[0], "backup", "--with-keys", "--data", mesh.data, "--out", backup)
                        threading.Event().wait(min(seconds, 1))
                mesh.process.kill()
                mesh.process.wait()
            shutil.rmtree(folders[0] / "data" / "blobs")
            restoring = _steno(machines.environments[1], "restore", backup, "--data", folders[1] / "data")
            with running_mesh(folders[1], machines.environments[1]) as mesh:
                trial = Trial(options, folder, World(mesh, machines.stores[1]), recorder, sounds)
                verdict = conclude(trial, time.monotonic())
    except BaseException:
        print(f"   kept: {keep(folder, options)}", flush=True)
        raise
    return [
        Figure("seconds of load before the backup", seconds, at_least=1, unit="s"),
        Figure("backup", round(took, 1), unit="s"),
        Figure("its size", round(backup.stat().st_size / 1e6, 1), unit="MB"),
        Figure("restore", round(restoring, 1), unit="s"),
        *verdict.figures(),
    ]


def _steno(environment: Mapping[str, str], *arguments: object) -> float:
    """Seconds that a command took. Raises AssertionError with what it said."""
    started = time.monotonic()
    command = [str(STENO), *map(str, arguments)]
    run = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False)
    assert run.returncode == 0, run.stderr
    return time.monotonic() - started


@contextmanager
def _machines(options: Options, folders: Sequence[Path]) -> Iterator[Machines]:
    hurried = {**HURRIED, **compiled()}
    if options.database == "sqlite":
        yield Machines([hurried, hurried], [embedded_stores(folder / "data") for folder in folders])
        return
    with postgres_server() as server, s3_server() as bucket:
        urls = [new_postgres_database(server) for _ in folders]
        programs = {"PATH": _client_programs() + os.pathsep + os.environ["PATH"]}
        environments = [{**hurried, **programs, **distributed_environment(url, bucket)} for url in urls]
        yield Machines(environments, [Stores(dict.fromkeys(WITH_DATABASE, url), bucket) for url in urls])


def _client_programs() -> str:
    """Where the wheel that runs Postgres has pg_dump."""
    import pgserver

    return str(Path(pgserver.__file__).parent / "pginstall" / "bin")
