"""How many clients an edge takes, and from how many descriptors."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from services.mesh.edge.leaving import closing_when

COUNT = """
import resource, sys
from services.mesh.edge.limits import affordable_connections
from services.mesh.run import take_descriptors
soft, hard = (int(number) for number in sys.argv[1:3])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
before = affordable_connections(4000)
take_descriptors()
print(before, affordable_connections(4000), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "found"),
    [(1024, 4096, (384, 3456, 4096)), (1024, 8192, (384, 4000, 8192)), (256, 512, (1, 1, 512)), (5000, 5000, (4000, 4000, 5000))],
)
def test_service_takes_its_descriptors_and_no_more_clients_than_them(soft: int, hard: int, found: tuple[int, ...]) -> None:
    command = [sys.executable, "-c", COUNT, str(soft), str(hard)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert tuple(int(number) for number in told.split()) == found


async def test_a_server_that_leaves_ends_each_connection_with_its_answer() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"keep-alive"), (b"etag", b"1")]})

    leaving, sent = asyncio.Event(), list[Any]()

    async def send(message: Any) -> None:
        sent.append(message["headers"])

    await closing_when(leaving, application)({}, None, send)  # type: ignore[arg-type]
    leaving.set()
    await closing_when(leaving, application)({}, None, send)  # type: ignore[arg-type]
    assert sent == [[(b"connection", b"keep-alive"), (b"etag", b"1")], [(b"etag", b"1"), (b"connection", b"close")]]
