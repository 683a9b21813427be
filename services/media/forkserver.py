"""The process from which every sandboxed child is forked: single-threaded, libav loaded, no secrets, no network.

It is a fresh interpreter, so a child inherits none of the service's memory, and the main program is never imported.
`multiprocessing`'s own fork server does import it, is one per process and returns results by pickle.
Run by `services.media.server` as `python -m services.media.forkserver CONTROL_FD MODULE:FUNCTION...`.
"""

import gc
import os
import selectors
import signal
import socket
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from services.media import child, wire
from services.media.confinement import leave_network

RECEIVE_BYTES = 2 * wire.LINE_BYTES


class ForkServer:
    """Forks a child per request, kills it when its lifeline closes, and reports its end on the lifeline."""

    def __init__(self, control: socket.socket, network_left: bool) -> None:
        self.control = control
        self.network_left = network_left
        self.lifelines: dict[int, socket.socket] = {}
        self.selector = selectors.DefaultSelector()
        self.alarm, self.alarm_writer = socket.socketpair()

    def serve(self) -> None:
        """Until the service closes the control socket; then no child is left."""
        self.watch_children()
        self.selector.register(self.control, selectors.EVENT_READ)
        self.selector.register(self.alarm, selectors.EVENT_READ)
        while self.turn():
            pass
        for pid in self.lifelines:
            os.kill(pid, signal.SIGKILL)

    def watch_children(self) -> None:
        """Have SIGCHLD wake the selector."""
        for end in (self.alarm, self.alarm_writer):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self.alarm_writer.fileno(), warn_on_full_buffer=False)

    def turn(self) -> bool:
        """Handle what is ready. False when the service has gone."""
        for key, _ in self.selector.select():
            if key.fileobj is self.control:
                if not self.accept():
                    return False
            elif key.fileobj is self.alarm:
                self.alarm.recv(4096)
                self.reap()
            elif self.lifelines.get(key.data) is key.fileobj:
                self.kill(key.data)
        return True

    def accept(self) -> bool:
        """Read one request and fork its child."""
        line, descriptors, _, _ = socket.recv_fds(self.control, RECEIVE_BYTES, wire.REQUEST_DESCRIPTORS)
        while line and not line.endswith(b"\n"):
            line += self.control.recv(RECEIVE_BYTES)
        if not line:
            return False
        self.fork(wire.decode_request(line), descriptors)
        return True

    def fork(self, request: wire.Request, descriptors: list[int]) -> None:
        """Start the child and keep only its lifeline."""
        lifeline = socket.socket(fileno=descriptors[0])
        server_pid = os.getpid()
        pid = os.fork()
        if pid == 0:
            become_child(request, descriptors[1:], self.network_left, server_pid)
        for descriptor in descriptors[1:]:
            os.close(descriptor)
        self.lifelines[pid] = lifeline
        self.selector.register(lifeline, selectors.EVENT_READ, pid)

    def kill(self, pid: int) -> None:
        """The service has let go of the run."""
        self.selector.unregister(self.lifelines[pid])
        os.kill(pid, signal.SIGKILL)

    def reap(self) -> None:
        """Report every child that has ended."""
        while self.lifelines:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return
            self.report(pid, [status, round((usage.ru_utime + usage.ru_stime) * 1000), usage.ru_maxrss * 1024])

    def report(self, pid: int, end: list[int]) -> None:
        """Tell the service how the child ended: wait status, CPU milliseconds, peak resident bytes."""
        with self.lifelines.pop(pid) as lifeline:
            with suppress(KeyError):
                self.selector.unregister(lifeline)
            # The service may have gone, or have cancelled the run.
            with suppress(OSError):
                lifeline.sendall(wire.encode({"end": end}))


def become_child(request: wire.Request, descriptors: list[int], network_left: bool, server_pid: int) -> NoReturn:
    """Run the request in this process and leave without Python's shutdown, whatever happens."""
    status = 1
    try:
        child.run(request, descriptors, network_left, server_pid)
        status = 0
    finally:
        os._exit(status)


def enter_empty_directory() -> None:
    """Make a directory that no longer exists the current one: nothing is in it and nothing can be put there."""
    path = Path(tempfile.mkdtemp(prefix="steno-"))
    os.chdir(path)
    path.rmdir()


def main(control_fd: int, preload: list[str]) -> None:
    """Serve on the control socket, after calling what loads the modules that children need."""
    for name in preload:
        child.resolve(name)()
    network_left = leave_network()
    enter_empty_directory()
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=control_fd) as control:
        ForkServer(control, network_left).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
