"""One consumer's pull loop: ask for as many messages as there are free hands, attend to each, answer the server."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from services.mesh import fault, semconv
from services.mesh.deliveries import Delivery, Reject, delivery_of
from services.mesh.errors import MeshError, Unavailable
from services.mesh.nats_link import Link
from services.mesh.streams import ConsumerSpec, apply_consumer
from services.mesh.telemetry import get_logger
from services.mesh.tracing.calls import consuming, end_message, scoped
from services.mesh.tracing.spans import current_span, tracer_or_none

Handler = Callable[[Delivery], Awaitable[None]]
Bury = Callable[[Msg, ConsumerSpec, str], Awaitable[None]]

_REQUEST_SECONDS = 10.0
_SLACK_SECONDS = 2.0
_ACK_SECONDS = 5.0
_ACK_TRIES = 3
_FIRST_DELAY_SECONDS = 1.0
_LAST_DELAY_SECONDS = 60.0
# A dependency that is away comes back without the message's doing, and the message is to be among the first to notice.
_AWAY_DELAY_SECONDS = 8.0
_REPAIR_SECONDS = 2.0
_PAUSED_SECONDS = 1.0
_OUTCOMES = ("handled", "unacknowledged", "retried", "dead")


class Consumption:
    """The pull loop of one consumer in this process.

    It pulls with requests of its own: nats-py's fetch swallows messages when cancelled, hangs across a
    restart of the server, and takes a deleted consumer for silence.
    """

    def __init__(
        self,
        link: Link,
        jetstream: JetStreamContext,
        spec: ConsumerSpec,
        handle: Handler,
        bury: Bury,
        repair: Callable[[], Awaitable[None]],
        paused: Callable[[], bool] = lambda: False,
    ) -> None:
        self._link = link
        self._jetstream = jetstream
        self._spec = spec
        self._handle = handle
        self._bury = bury
        self._repair_streams = repair
        self._paused = paused
        # Bounded by what was requested; None only says 'look again'.
        self._arrived: asyncio.Queue[Msg | None] = asyncio.Queue()
        self._requested = 0
        self._hands: set[asyncio.Task[None]] = set()
        self._missing = True
        self._logger = get_logger("mesh.consumer")
        self._tracer = tracer_or_none()
        for outcome in _OUTCOMES:
            # From 0 on: of a counter that appears with its first event, Prometheus does not see that one.
            semconv.BUS_MESSAGES.labels(spec.name, outcome)

    async def run(self, stopping: asyncio.Event, concurrency: int, grace_seconds: float) -> None:
        """Pull until stopping; then give the handlers their grace and hand back what is left."""
        async with asyncio.TaskGroup() as tasks:
            stop = tasks.create_task(self._wake_when(stopping), name=f"stop-{self._spec.name}")
            async with self._inbox() as inbox:
                while not stopping.is_set():
                    await self._turn(tasks, inbox, concurrency, stopping)
            await self._finish(grace_seconds)
            stop.cancel()

    async def _turn(self, tasks: asyncio.TaskGroup, inbox: str, concurrency: int, stopping: asyncio.Event) -> None:
        if self._missing:
            await self._ensure(stopping)
        paused = self._paused()
        await self._request(inbox, 0 if paused else concurrency - len(self._hands) - self._requested)
        try:
            async with asyncio.timeout(_PAUSED_SECONDS if paused else _REQUEST_SECONDS + _SLACK_SECONDS):
                message = await self._arrived.get()
        except TimeoutError:
            if self._requested and not paused:
                # Every request is answered, if only with 'timeout': the server lost these.
                self._requested, self._missing = 0, True
            return
        if message is None:
            return
        if (status := (message.headers or {}).get("Status")) is not None:
            self._note_status(status, (message.headers or {}).get("Description", ""))
        else:
            await self._take(tasks, message, concurrency)

    async def _request(self, inbox: str, count: int) -> None:
        if not self._link.connected.is_set():
            return
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._spec.stream.name}.{self._spec.name}"
        body = json.dumps({"batch": 1, "expires": int(_REQUEST_SECONDS * 1e9)}).encode()
        for _ in range(count):
            await self._link.client.publish(subject, body, reply=inbox)
            self._requested += 1

    def _note_status(self, status: str, description: str) -> None:
        if status == "100":
            return
        self._requested = max(0, self._requested - 1)
        # 503: nobody answers for this consumer. 409 also tells of a deletion, a shutdown, a new leader.
        self._missing = self._missing or status not in {"404", "408"}
        if self._missing:
            self._logger.info("consumer interrupted", consumer=self._spec.name, status=status, description=description)

    async def _take(self, tasks: asyncio.TaskGroup, message: Msg, concurrency: int) -> None:
        self._requested = max(0, self._requested - 1)
        if len(self._hands) >= concurrency:
            # Requests from before a reconnect were still open at the server.
            await message.nak()
            return
        if self._paused():
            await message.nak(delay=_PAUSED_SECONDS)
            return
        hand = tasks.create_task(self._attend(message), name=f"handle-{self._spec.name}")
        self._hands.add(hand)
        hand.add_done_callback(self._freed)

    def _freed(self, hand: asyncio.Task[None]) -> None:
        self._hands.discard(hand)
        self._arrived.put_nowait(None)

    async def _wake_when(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self._arrived.put_nowait(None)

    def _reconnected(self) -> None:
        self._requested = 0
        self._arrived.put_nowait(None)

    @asynccontextmanager
    async def _inbox(self) -> AsyncIterator[str]:
        inbox = self._link.client.new_inbox()
        subscription = await self._link.client.subscribe(inbox, cb=self._arrived.put)
        try:
            with self._link.listening(self._reconnected):
                yield inbox
        finally:
            if not self._link.client.is_closed:
                await subscription.unsubscribe()

    async def _ensure(self, stopping: asyncio.Event) -> None:
        delay = 0.05
        while not stopping.is_set():
            try:
                async with self._link.answer_within(_ACK_SECONDS):
                    await self._apply()
            except (NatsError, TimeoutError) as error:
                self._logger.warning("consumer not ready", consumer=self._spec.name, error=repr(error))
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311
                delay = min(delay * 2, _REPAIR_SECONDS)
            else:
                self._missing = False
                return

    async def _apply(self) -> None:
        try:
            await apply_consumer(self._jetstream, self._spec)
        except NotFoundError:
            await self._repair_streams()
            await apply_consumer(self._jetstream, self._spec)

    async def _finish(self, grace_seconds: float) -> None:
        hands = set(self._hands)
        if hands:
            _, late = await asyncio.wait(hands, timeout=grace_seconds)
            for hand in late:
                hand.cancel()
        while not self._arrived.empty():
            message = self._arrived.get_nowait()
            if message is not None and "Status" not in (message.headers or {}):
                await message.nak()

    async def _attend(self, message: Msg) -> None:
        started = time.monotonic()
        span = consuming(self._tracer, self._spec.name, message)
        with scoped(span):
            outcome = await self._outcome(message)
            end_message(span, outcome)
        semconv.BUS_MESSAGES.labels(self._spec.name, outcome).inc()
        semconv.BUS_HANDLE_SECONDS.labels(self._spec.name).observe(time.monotonic() - started)

    async def _outcome(self, message: Msg) -> str:
        disconnects = self._link.disconnects
        try:
            async with self._extending(message):
                fault.point("consumer.message.before_effect")
                await self._handle(delivery_of(message))
        except Reject as refusal:
            return await self._dead_letter(message, refusal.reason)
        except asyncio.CancelledError:
            await message.nak()
            raise
        except Exception as error:
            return await self._failed(message, error)
        fault.point("consumer.message.before_ack")
        outcome = await self._acknowledge(message, disconnects)
        fault.point("consumer.message.after_ack")
        return outcome

    @asynccontextmanager
    async def _extending(self, message: Msg) -> AsyncIterator[None]:
        extension = asyncio.create_task(self._extend(message), name=f"extend-{self._spec.name}")
        try:
            yield
        finally:
            extension.cancel()

    async def _extend(self, message: Msg) -> None:
        while True:
            await asyncio.sleep(self._spec.ack_wait_seconds / 3)
            try:
                await message.in_progress()
            except NatsError as error:
                self._logger.warning("message not extended", consumer=self._spec.name, error=repr(error))

    async def _acknowledge(self, message: Msg, disconnects: int) -> str:
        for _ in range(_ACK_TRIES):
            if self._link.disconnects > disconnects:
                # A restarted server may have forgotten this delivery, and then never answers its acknowledgement.
                await message.ack()
                break
            try:
                async with self._link.answer_within(_ACK_SECONDS):
                    await message.ack_sync(timeout=_ACK_SECONDS)
            except (NatsError, TimeoutError) as error:
                self._logger.warning("acknowledgement lost", consumer=self._spec.name, error=repr(error))
            else:
                return "handled"
        # It comes again, and the handler's inbox knows it.
        return "unacknowledged"

    async def _failed(self, message: Msg, error: Exception) -> str:
        deliveries = message.metadata.num_delivered
        current_span().error = type(error).__qualname__
        self._logger.warning(
            "message failed",
            consumer=self._spec.name,
            subject=message.subject,
            deliveries=deliveries,
            error=repr(error),
            exc_info=not isinstance(error, MeshError),
        )
        if self._spec.max_tries is not None and deliveries >= self._spec.max_tries and not _is_passing(error):
            return await self._dead_letter(message, f"{type(error).__name__}: {error}")
        return await self._delay(message, "retried", _AWAY_DELAY_SECONDS if _is_passing(error) else _LAST_DELAY_SECONDS)

    async def _dead_letter(self, message: Msg, reason: str) -> str:
        try:
            await self._bury(message, self._spec, reason)
        except (MeshError, NatsError, TimeoutError) as error:
            self._logger.warning("dead letter not published", consumer=self._spec.name, error=repr(error))
            return await self._delay(message, "retried")
        return "dead"

    async def _delay(self, message: Msg, outcome: str, longest_seconds: float = _LAST_DELAY_SECONDS) -> str:
        fault.point("consumer.message.before_return")
        await message.nak(delay=delay_seconds(message.metadata.num_delivered, longest_seconds))
        return outcome


def _is_passing(error: Exception) -> bool:
    """Whether the fault is a dependency's that will come back, not the message's."""
    return isinstance(error, Unavailable | OSError | TimeoutError) or getattr(getattr(error, "code", None), "name", "") == "UNAVAILABLE"


def delay_seconds(deliveries: int, longest_seconds: float = _LAST_DELAY_SECONDS) -> float:
    """The wait before the next delivery: doubles from 1 s to the longest, with jitter."""
    longest: float = min(_FIRST_DELAY_SECONDS * 2 ** min(deliveries - 1, 10), longest_seconds)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311
