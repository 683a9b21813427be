"""Names to addresses: asked once a connection, within a deadline, all answers judged."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from ipaddress import ip_address

from services.mesh.egress.addresses import Address, NetworkPolicy
from services.mesh.egress.urls import Target
from services.mesh.errors import FetchBlocked, FetchFailed

Resolve = Callable[[str], Awaitable[Sequence[Address]]]
RESOLVER_THREADS = 8
MAX_ANSWERS = 64


@asynccontextmanager
async def open_resolver() -> AsyncIterator[Resolve]:
    """The machine's resolver, in threads of its own: a hung one must not stop the loop's other work."""
    threads = ThreadPoolExecutor(RESOLVER_THREADS, "resolver")

    async def resolve(name: str) -> Sequence[Address]:
        return await asyncio.get_running_loop().run_in_executor(threads, ask_machine, name)

    try:
        yield resolve
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def ask_machine(name: str) -> Sequence[Address]:
    """What getaddrinfo answers, in its order. Raises OSError."""
    # As bytes: text would pass through Python's own IDNA rules once more.
    found = socket.getaddrinfo(name.encode("ascii"), None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


async def find_addresses(target: Target, policy: NetworkPolicy, resolve: Resolve, seconds: float) -> Sequence[Address]:
    """Where the target may be connected to. Raises FetchBlocked if any answer is forbidden, FetchFailed without answers."""
    if target.address is not None:
        addresses: Sequence[Address] = [target.address]
    else:
        try:
            async with asyncio.timeout(seconds):
                addresses = await resolve(target.host)
        except (OSError, UnicodeError) as error:
            raise FetchFailed from error
    if not 0 < len(addresses) <= MAX_ANSWERS:
        raise FetchFailed
    if not all(map(policy.permits, addresses)):
        raise FetchBlocked
    return addresses
