"""gRPC channels that take up a new certificate: the next call goes over a new connection, calls in flight end on the old one."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Self

import grpc

from services.mesh.tls.certificates import Certificates

Options = Sequence[tuple[str, Any]]


class _Connection:
    """One channel and how many of its calls are in flight."""

    def __init__(self, channel: grpc.aio.Channel, closing: set[asyncio.Task[None]]) -> None:
        self.channel = channel
        self._calls = 0
        self._retired = False
        self._closing = closing

    def count(self, call: Any) -> Any:
        """The call, counted until it is done."""
        self._calls += 1
        call.add_done_callback(self._ended)
        return call

    def retire(self) -> None:
        """Close as soon as no call is in flight."""
        self._retired = True
        self._close_when_idle()

    def _ended(self, _: Any) -> None:
        self._calls -= 1
        self._close_when_idle()

    def _close_when_idle(self) -> None:
        if self._retired and not self._calls:
            task = asyncio.get_running_loop().create_task(self.channel.close(), name="old channel")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


class NewestChannel(grpc.aio.Channel):
    """A channel over the certificate of the moment."""

    def __init__(self, certificates: Certificates, connect: Callable[[], grpc.aio.Channel]) -> None:
        self._certificates = certificates
        self._connect = connect
        self._closing: set[asyncio.Task[None]] = set()
        self._retired: list[_Connection] = []
        self._made_with = certificates.current
        self._connection = _Connection(connect(), self._closing)

    def _newest(self) -> _Connection:
        if self._certificates.current is not self._made_with:
            self._made_with = self._certificates.current
            old, self._connection = self._connection, _Connection(self._connect(), self._closing)
            self._retired = [one for one in (*self._retired, old) if one.channel.get_state() is not grpc.ChannelConnectivity.SHUTDOWN]
            old.retire()
        return self._connection

    def _method(self, kind: str, arguments: Sequence[Any], options: Any) -> Any:
        made: tuple[_Connection, Any] | None = None

        def call(*given: Any, **named: Any) -> Any:
            nonlocal made
            connection = self._newest()
            if made is None or made[0] is not connection:
                made = connection, getattr(connection.channel, kind)(*arguments, **options)
            return connection.count(made[1](*given, **named))

        return call

    def unary_unary(self, *arguments: Any, **options: Any) -> Any:
        """As grpc.aio.Channel."""
        return self._method("unary_unary", arguments, options)

    def unary_stream(self, *arguments: Any, **options: Any) -> Any:
        """As grpc.aio.Channel."""
        return self._method("unary_stream", arguments, options)

    def stream_unary(self, *arguments: Any, **options: Any) -> Any:
        """As grpc.aio.Channel."""
        return self._method("stream_unary", arguments, options)

    def stream_stream(self, *arguments: Any, **options: Any) -> Any:
        """As grpc.aio.Channel."""
        return self._method("stream_stream", arguments, options)

    async def close(self, grace: float | None = None) -> None:
        """Close, the connections of old certificates too."""
        for connection in (*self._retired, self._connection):
            await connection.channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Of the newest connection."""
        return self._newest().channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Of the newest connection."""
        await self._newest().channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Of the newest connection."""
        await self._newest().channel.channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()


def make_channel(address: str, options: Options, tls: Certificates | None, authority: bytes | None = None) -> grpc.aio.Channel:
    """A channel, in plain text without certificates. authority: PEM of whom to trust instead of the mesh's."""
    if tls is None:
        return grpc.aio.insecure_channel(address, options=options)
    # Channels of one process would else share a connection that shows the old certificate.
    own = [*options, ("grpc.use_local_subchannel_pool", 1)]
    return NewestChannel(tls, lambda: grpc.aio.secure_channel(address, tls.channel_credentials(authority), options=own))
