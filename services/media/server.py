"""The service's end of the fork server: start it, hand it work, stop it."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Server:
    """A running fork server and the socket that it obeys."""

    process: subprocess.Popen[bytes]
    control: socket.socket

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def submit(self, line: bytes, descriptors: Sequence[int]) -> None:
        """Send a request. Raises OSError when the server has gone or does not read."""
        sent = socket.send_fds(self.control, [line], descriptors)
        if sent != len(line):
            self.process.kill()
            raise BlockingIOError("the fork server does not read")

    def stop(self) -> None:
        """Let it kill its children and leave; kill it when it does not."""
        self.control.close()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_server(preload: Sequence[str]) -> Server:
    """Start a fork server, which first calls each `package.module:function` of `preload`.

    Blocks for the start of a process, not for its imports.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "services.media.forkserver", str(theirs.fileno()), *preload],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=server_environment(),
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    return Server(process, ours)


def server_environment() -> dict[str, str]:
    """Where to import from, and nothing else that the service knows."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
    path = os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path)
    return {**kept, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
