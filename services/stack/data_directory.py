"""The data directory of an embedded mesh: databases, blobs, event store, keys, logs, and the lock on them all."""

import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from services.mesh.identity import write_new_key

_SECRET_BYTES = 32
FREE_BYTES_NEEDED = 256 * 1024 * 1024
_ORPHANS_SECONDS = 18.0
_POLL_SECONDS = 0.1


class DataDirectoryError(Exception):
    """The data directory cannot be used; the message says what to do."""


@dataclass(frozen=True)
class FirstWorkspace:
    """The workspace that `steno up` made, with the one copy of its key's secret."""

    workspace_id: str
    api_key: str


@dataclass(frozen=True)
class DataDirectory:
    """Where each part of the embedded mesh lives below one root."""

    root: Path

    @property
    def identity_key(self) -> Path:
        return self.root / "keys" / "identity.pem"

    @property
    def pepper(self) -> Path:
        return self.root / "keys" / "pepper"

    @property
    def signing_key(self) -> Path:
        return self.root / "keys" / "signing"

    @property
    def claim_key(self) -> Path:
        return self.root / "keys" / "claim"

    @property
    def first_workspace(self) -> Path:
        return self.root / "keys" / "first-workspace.json"

    @property
    def addresses(self) -> Path:
        return self.root / "addresses.json"

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    @property
    def scratch(self) -> Path:
        return self.root / "scratch"

    @property
    def events(self) -> Path:
        return self.root / "events"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def triton(self) -> Path:
        return self.root / "triton"

    @property
    def triton_interpreter(self) -> Path:
        return self.triton / "interpreter"

    @property
    def certificates(self) -> Path:
        return self.root / "certificates"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def database_url(self, service: str) -> str:
        """SQLite URL of a service's own file."""
        return f"sqlite+aiosqlite:///{self.root / 'databases' / (service + '.db')}"

    def prepare(self, free_bytes_needed: int = FREE_BYTES_NEEDED) -> None:
        """Make what is missing; keys are made once and never changed. Raises DataDirectoryError."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            for folder in ("keys", "databases", "blobs", "scratch", "events", "logs"):
                (self.root / folder).mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise self._unusable(error) from error
        write_key_once(self.identity_key)
        for secret in (self.pepper, self.signing_key, self.claim_key):
            write_secret_once(secret)
        self._check_space(free_bytes_needed)

    def _check_space(self, needed: int) -> None:
        status = os.statvfs(self.root)
        free = status.f_bavail * status.f_frsize
        if free < needed:
            raise DataDirectoryError(f"{self.root} has {free >> 20} MiB free; Steno needs at least {needed >> 20} MiB")

    def read_first_workspace(self) -> FirstWorkspace | None:
        """The workspace made by an earlier start, if any."""
        if not self.first_workspace.exists():
            return None
        return FirstWorkspace(**json.loads(self.first_workspace.read_text()))

    def write_first_workspace(self, workspace: FirstWorkspace) -> None:
        """Keep the workspace for the next start, readable by the owner only."""
        write_private(self.first_workspace, json.dumps(asdict(workspace)))

    @contextmanager
    def locked(self, progress: Callable[[str], None] = lambda _: None) -> Iterator[int]:
        """Only one mesh at a time uses the directory. Raises DataDirectoryError.

        Yields a descriptor for the children to inherit: while one of them lives, even past a killed supervisor,
        the next mesh waits for it.
        """
        with ExitStack() as stack:
            lock, children = (stack.enter_context(self._open(name)) for name in ("lock", "children.lock"))
            if not _lock(lock):
                raise DataDirectoryError(f"another `steno up` uses {self.root}; stop it or choose another folder with --data")
            self._wait_for_children(children, progress)
            yield children.fileno()

    def _open(self, name: str) -> IO[str]:
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            return (self.root / name).open("w")
        except OSError as error:
            raise self._unusable(error) from error

    def _wait_for_children(self, lock: IO[str], progress: Callable[[str], None]) -> None:
        until = time.monotonic() + _ORPHANS_SECONDS
        if not _lock(lock):
            progress("waiting for the services of a killed run to end")
        while not _lock(lock):
            if time.monotonic() > until:
                raise DataDirectoryError(f"services of an earlier run still use {self.root}; end them or choose another folder with --data")
            time.sleep(_POLL_SECONDS)

    def _unusable(self, error: OSError) -> DataDirectoryError:
        return DataDirectoryError(f"cannot write to {self.root}: {error.strerror}; choose another folder with --data")


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_key_once(path: Path) -> None:
    """Make the mesh's identity key, readable by its owner only, unless it is there."""
    if path.exists():
        return
    partial = path.with_name(path.name + ".new")
    partial.unlink(missing_ok=True)
    write_new_key(partial)
    partial.replace(path)


def write_secret_once(path: Path) -> None:
    """Make a random secret, readable by its owner only, unless it is there.

    Text on one line: a signing key file may hold several keys, one a line.
    """
    if not path.exists():
        _replace(path, secrets.token_hex(_SECRET_BYTES).encode())


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically, readable by its owner only."""
    _replace(path, text.encode())


def _replace(path: Path, content: bytes) -> None:
    """Through a synced file beside it: a power cut must not leave an empty pepper, with which no API key works."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 (a descriptor, not a path)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
