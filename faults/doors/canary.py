"""Listeners that nobody may reach: whoever connects to this machine on their port is counted."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from socketserver import BaseRequestHandler, ThreadingTCPServer

from tests.e2e.mesh import wait_for


@dataclass
class Canary:
    """The port, and the addresses on which it was reached."""

    port: int = 0
    visits: list[str] = field(default_factory=list)

    def prove(self) -> None:
        """See that visitors are noticed, on both protocols. Fails when they are not."""
        for host in ("127.0.0.1", "127.0.0.3", "::1"):
            socket.create_connection((host, self.port), timeout=10).close()
        wait_for(lambda: len(self.visits) == 3, 10, "the canary to notice its visitors")
        self.visits.clear()


class _OnIpv6(ThreadingTCPServer):
    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()


@contextmanager
def running_canary() -> Iterator[Canary]:
    """One port on every address of this machine."""
    canary = Canary()

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            canary.visits.append(str(self.request.getsockname()[0]))

    with ExitStack() as stack:
        for kind, host in ((ThreadingTCPServer, "0.0.0.0"), (_OnIpv6, "::")):
            server = stack.enter_context(kind((host, canary.port), Handler))
            canary.port = server.server_address[1]
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="canary")
            thread.start()
            stack.callback(thread.join, 60)
            stack.callback(server.shutdown)
        canary.prove()
        yield canary
