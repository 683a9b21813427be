"""The data directory of an embedded mesh: databases, blobs, event store, keys, logs, and the lock on them all."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from services.mesh.identity import write_new_key

_SECRET_BYTES = 32
_FREE_BYTES_NEEDED = 256 * 1024 * 1024


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
    def first_workspace(self) -> Path:
        return self.root / "keys" / "first-workspace.json"

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
    def logs(self) -> Path:
        return self.root / "logs"

    def database_url(self, service: str) -> str:
        """SQLite URL of a service's own file."""
        return f"sqlite+aiosqlite:///{self.root / 'databases' / (service + '.db')}"

    def prepare(self) -> None:
        """Make what is missing; keys are made once and never changed. Raises DataDirectoryError."""
        try:
            for folder in ("keys", "databases", "blobs", "scratch", "events", "logs"):
                (self.root / folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise DataDirectoryError(f"cannot write to {self.root}: {error.strerror}; choose another with --data") from error
        if not self.identity_key.exists():
            write_new_key(self.identity_key)
        for secret in (self.pepper, self.signing_key):
            _write_secret_once(secret)
        self._check_space()

    def _check_space(self) -> None:
        status = os.statvfs(self.root)
        free = status.f_bavail * status.f_frsize
        if free < _FREE_BYTES_NEEDED:
            raise DataDirectoryError(f"{self.root} has {free >> 20} MiB free; Steno needs at least {_FREE_BYTES_NEEDED >> 20} MiB")

    def read_first_workspace(self) -> FirstWorkspace | None:
        """The workspace made by an earlier start, if any."""
        if not self.first_workspace.exists():
            return None
        return FirstWorkspace(**json.loads(self.first_workspace.read_text()))

    def write_first_workspace(self, workspace: FirstWorkspace) -> None:
        """Keep the workspace for the next start, readable by the owner only."""
        write_private(self.first_workspace, json.dumps(asdict(workspace)))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one mesh at a time uses the directory. Raises DataDirectoryError."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DataDirectoryError(f"another `steno up` uses {self.root}; stop it or choose another with --data") from error
            yield


def _write_secret_once(path: Path) -> None:
    if not path.exists():
        partial = path.with_suffix(".new")
        partial.touch(mode=0o600)
        partial.write_bytes(secrets.token_bytes(_SECRET_BYTES))
        partial.rename(path)


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically, readable by its owner only."""
    partial = path.with_name(path.name + ".new")
    partial.touch(mode=0o600)
    partial.write_text(text)
    partial.replace(path)
