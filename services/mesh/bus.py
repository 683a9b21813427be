"""The bus: events and work over NATS JetStream, at least once."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from google.protobuf.message import Message
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from services.mesh import fault
from services.mesh.buckets import Bucket
from services.mesh.consumption import Consumption, Handler
from services.mesh.deliveries import EVENT_ID, MESSAGE_TYPE, Delivery, Pending, Reject, delivery_of
from services.mesh.errors import Overloaded, ServiceUnavailable
from services.mesh.nats_link import Link, open_link
from services.mesh.streams import EVENTS, MAX_MESSAGE_BYTES, ConsumerSpec, StreamSpec, apply_streams, dead_subject
from services.mesh.telemetry import get_logger
from services.mesh.tls.certificates import Certificates
from services.mesh.tracing.calls import publishing
from services.mesh.tracing.parents import headers_of
from services.mesh.tracing.spans import tracer_or_none

_ANSWER_SECONDS = 5.0
_CHECK_SECONDS = 2.0
_REPAIR_SECONDS = 2.0
_HEADER_BYTES = 1024
MAX_PAYLOAD_BYTES = MAX_MESSAGE_BYTES - _HEADER_BYTES
_STORE_FULL = frozenset({10023, 10047, 10077})


class Bus:
    """Publishing and consuming for one process; use `open_bus`."""

    def __init__(self, link: Link, replicas: int) -> None:
        self._link = link
        self._jetstream = link.client.jetstream(timeout=_ANSWER_SECONDS)
        self._replicas = replicas
        self._broken = asyncio.Event()
        self._tracer = tracer_or_none()
        self._logger = get_logger("mesh.bus")

    async def publish(self, subject: str, message: Message, *, event_id: str, trace_parent: str = "") -> None:
        """Publish and wait for the server's acknowledgement; repeat with the same event_id after a failure.

        trace_parent: of the trace that it belongs to, if not the one in hand.
        Raises ServiceUnavailable (the outcome is unknown), or Overloaded when the stream is full.
        """
        await self.send(subject, message.DESCRIPTOR.full_name, message.SerializeToString(), event_id=event_id, trace_parent=trace_parent)

    async def send(self, subject: str, message_type: str, payload: bytes, *, event_id: str, trace_parent: str = "") -> None:
        """As `publish`, of a message that is serialized already."""
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise ValueError(f"{message_type} has {len(payload)} bytes; events carry ids, not content")
        with publishing(self._tracer, subject, event_id, trace_parent) as span:
            trace = headers_of(span.parent or trace_parent)
            await self._publish(subject, payload, {EVENT_ID: event_id, MESSAGE_TYPE: message_type, **dict(trace)})

    async def consume(
        self,
        consumer: ConsumerSpec,
        handle: Handler,
        *,
        stopping: asyncio.Event,
        concurrency: int,
        grace_seconds: float = 8.0,
        paused: Callable[[], bool] = lambda: False,
    ) -> None:
        """Handle the consumer's messages, so many at once, until stopping; then give handlers grace_seconds to end.

        While `paused` says so no more are taken, and they stay for other processes; those in hand go on.

        A handler that returns acknowledges. One that raises gets the message again after a growing delay; Reject, or the
        spec's max_tries of failures other than Unavailable, sends it to the dead letters.
        """
        consumption = Consumption(self._link, self._jetstream, consumer, handle, self._bury, self.repair, paused)
        await consumption.run(stopping, concurrency, grace_seconds)

    @asynccontextmanager
    async def watch(self, subject: str, callback: Callable[[Delivery], Awaitable[None]]) -> AsyncIterator[None]:
        """Call back with what is published meanwhile, in every watching process; what is missed is not repeated."""

        async def arrived(message: Msg) -> None:
            try:
                await callback(delivery_of(message))
            except Reject as refusal:
                self._logger.warning("watched message refused", subject=message.subject, reason=refusal.reason)

        subscription = await self._link.client.subscribe(subject, cb=arrived)
        try:
            yield
        finally:
            if not self._link.client.is_closed:
                await subscription.unsubscribe()

    def bucket(self, name: str, max_age_seconds: float) -> Bucket:
        """Small values that every process on the bus shares; made when first used."""
        return Bucket(self._jetstream, self._answering, name, max_age_seconds, self._replicas)

    async def pending(self, consumer: ConsumerSpec) -> Pending:
        """What the consumer's queue holds; a consumer that nobody opened yet has the whole stream waiting."""
        async with self._answering():
            try:
                info = await self._jetstream.consumer_info(consumer.stream.name, consumer.name)
            except NotFoundError:
                stream = await self._jetstream.stream_info(consumer.stream.name)
                return Pending(waiting=stream.state.messages, outstanding=0)
        return Pending(waiting=info.num_pending or 0, outstanding=info.num_ack_pending or 0)

    async def stream_created(self, stream: StreamSpec) -> datetime:
        """When the stream was made: another time than before means that its store was lost."""
        async with self._answering():
            info = await self._jetstream.stream_info(stream.name)
        if info.created is None:
            raise ServiceUnavailable("The bus does not tell when its stream was made.")
        return info.created.astimezone(UTC)

    async def connected(self, seconds: float) -> bool:
        """Whether the connection and the streams are there, waiting for them at most so long."""
        try:
            async with self._link.answer_within(seconds):
                return await self._link.prepared.wait()
        except TimeoutError:
            return False

    async def check(self) -> None:
        """Raises ServiceUnavailable unless JetStream answers within two seconds."""
        async with self._answering(_CHECK_SECONDS):
            await self._jetstream.stream_info(EVENTS.name)

    async def repair(self) -> None:
        """Make the streams anew where the server lost them. Raises nats errors."""
        await apply_streams(self._jetstream, self._replicas)

    async def keep(self) -> None:
        """Repair after every reconnect and whenever a stream is found missing, until cancelled."""
        with self._link.listening(self._broken.set):
            while True:
                await self._broken.wait()
                self._broken.clear()
                await self.repair_until_done()

    async def repair_until_done(self) -> None:
        """Repair, as often as it takes."""
        delay = 0.05
        while True:
            try:
                async with self._link.answer_within(_ANSWER_SECONDS):
                    await self.repair()
                    self._link.prepared.set()
                    return
            except (NatsError, TimeoutError) as error:
                self._logger.warning("streams not ready", error=repr(error))
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311
            delay = min(delay * 2, _REPAIR_SECONDS)

    async def _publish(self, subject: str, payload: bytes, headers: dict[str, str]) -> None:
        try:
            async with self._answering():
                # Where somebody watches the subject, a server without the stream does not refuse: nobody ever answers.
                await self._link.prepared.wait()
                # nats-py adds to the headers it is given.
                await self._jetstream.publish(subject, payload, timeout=_ANSWER_SECONDS, headers=dict(headers))
        except ServiceUnavailable:
            if self._link.connected.is_set():
                self._doubt_streams()
            raise

    def _doubt_streams(self) -> None:
        """Publish nothing more until they are there for certain."""
        self._link.prepared.clear()
        self._broken.set()

    async def _bury(self, message: Msg, consumer: ConsumerSpec, reason: str) -> None:
        """Publish the message as it is to the dead letters, then end its deliveries."""
        metadata = message.metadata
        headers = {
            **(message.headers or {}),
            EVENT_ID: f"dead:{metadata.stream}:{metadata.sequence.stream}",
            "Steno-Event-Id": (message.headers or {}).get(EVENT_ID, ""),
            "Steno-Reason": _one_line(reason),
            "Steno-Subject": message.subject,
            "Steno-Deliveries": str(metadata.num_delivered),
        }
        await self._publish(dead_subject(consumer.name), message.data, headers)
        fault.point("consumer.dead_letter.after_publish")
        self._logger.error("message buried", consumer=consumer.name, subject=message.subject, reason=_one_line(reason))
        async with self._answering():
            await self._link.client.request(message.reply, b"+TERM", timeout=_ANSWER_SECONDS)

    @asynccontextmanager
    async def _answering(self, seconds: float = _ANSWER_SECONDS) -> AsyncIterator[None]:
        try:
            async with self._link.answer_within(seconds):
                yield
        except (NotFoundError, NoStreamResponseError) as error:
            self._doubt_streams()
            raise ServiceUnavailable("The bus lost its streams.") from error
        except APIError as error:
            if error.err_code in _STORE_FULL:
                raise Overloaded("The queue is full.") from error
            raise ServiceUnavailable("The bus refused.", bus_error=str(error.err_code)) from error
        except (NatsError, TimeoutError) as error:
            raise ServiceUnavailable("The bus did not answer.", outcome="unknown") from error


@asynccontextmanager
async def open_bus(url: str, *, name: str, tls: Certificates | None = None, replicas: int = 1) -> AsyncIterator[Bus]:
    """A connected bus whose streams exist; waits for the server for as long as it takes.

    Raises a group with ServiceUnavailable when nats-py gives the connection up, which no reconnecting brings back.
    """
    async with open_link(url, name=name, tls=tls) as link:
        bus = Bus(link, replicas)
        await bus.repair_until_done()
        async with asyncio.TaskGroup() as tasks:
            keepers = [
                tasks.create_task(bus.keep(), name=f"bus-keeper-{name}"),
                tasks.create_task(_fail_when_closed(link), name=f"bus-closed-{name}"),
            ]
            try:
                yield bus
            finally:
                for keeper in keepers:
                    keeper.cancel()


async def _fail_when_closed(link: Link) -> None:
    """A service that would never hear of anything again had better start anew."""
    await link.closed.wait()
    raise ServiceUnavailable(f"The bus closed the connection for good: {link.client.last_error!r}.")


def _one_line(reason: str) -> str:
    return " ".join(reason.split())[:500]
