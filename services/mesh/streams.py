"""The streams of the bus, their subjects, and the consumers' specification."""

from dataclasses import dataclass
from datetime import timedelta

from google.protobuf.message import Message
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

_MEBIBYTE = 1024**2
_DUPLICATE_WINDOW_SECONDS = 120.0
MAX_MESSAGE_BYTES = 8 * 1024


@dataclass(frozen=True)
class StreamSpec:
    """A stream as it must be; compared field by field with the server's."""

    name: str
    subjects: tuple[str, ...]
    retention: RetentionPolicy
    discard: DiscardPolicy
    max_bytes: int
    max_age: timedelta | None = None
    max_message_bytes: int = -1

    def config(self, replicas: int) -> StreamConfig:
        """The specification in the server's words."""
        return StreamConfig(
            name=self.name,
            subjects=list(self.subjects),
            retention=self.retention,
            discard=self.discard,
            max_bytes=self.max_bytes,
            max_age=self.max_age.total_seconds() if self.max_age else 0.0,
            max_msg_size=self.max_message_bytes,
            storage=StorageType.FILE,
            num_replicas=replicas,
            duplicate_window=_DUPLICATE_WINDOW_SECONDS,
        )


@dataclass(frozen=True)
class ConsumerSpec:
    """A durable pull consumer; the same name in several processes shares its messages.

    max_tries: deliveries before a failing message goes to `steno.dead.<name>`; None for no limit.
    """

    name: str
    stream: StreamSpec
    subjects: tuple[str, ...]
    ack_wait_seconds: float = 30.0
    max_tries: int | None = 10

    def config(self) -> ConsumerConfig:
        """The specification in the server's words.

        No `backoff`: it overrides ack_wait. No max_deliver: a message past it is in none of the server's counts.
        """
        return ConsumerConfig(
            durable_name=self.name,
            filter_subjects=list(self.subjects),
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self.ack_wait_seconds,
            max_deliver=-1,
            max_ack_pending=1000,
        )


EVENTS = StreamSpec(
    "EVENTS", ("steno.events.>",), RetentionPolicy.LIMITS, DiscardPolicy.OLD, 512 * _MEBIBYTE, timedelta(days=7), MAX_MESSAGE_BYTES
)
# DiscardNew: a full stream refuses, so that work waits in the outbox and a refused message with its consumer; the default would
# drop what is nowhere else.
WORK = StreamSpec(
    "WORK", ("steno.work.>",), RetentionPolicy.WORK_QUEUE, DiscardPolicy.NEW, 256 * _MEBIBYTE, max_message_bytes=MAX_MESSAGE_BYTES
)
DEAD = StreamSpec("DEAD", ("steno.dead.>",), RetentionPolicy.LIMITS, DiscardPolicy.NEW, 128 * _MEBIBYTE, timedelta(days=30))
STREAMS = (EVENTS, WORK, DEAD)


def event_subject(service: str, message: type[Message]) -> str:
    """The subject of a service's event."""
    return f"steno.events.{service}.{message.DESCRIPTOR.name}"


def work_subject(work_class: str) -> str:
    """The subject of a class of work."""
    return f"steno.work.{work_class}"


def work_consumer(work_class: str) -> ConsumerSpec:
    """The one consumer that all workers of a class share; work is never buried, its owner counts the tries."""
    return ConsumerSpec(f"work-{work_class}", WORK, (work_subject(work_class),), max_tries=None)


def dead_subject(consumer: str) -> str:
    """Where a consumer's undeliverable messages go."""
    return f"steno.dead.{consumer}"


async def apply_streams(jetstream: JetStreamContext, replicas: int = 1) -> None:
    """Make every stream as specified; harmless when it is. Raises nats errors when the server refuses."""
    for spec in STREAMS:
        wanted = spec.config(replicas)
        try:
            info = await jetstream.stream_info(spec.name)
        except NotFoundError:
            await jetstream.add_stream(wanted)
            continue
        if _differs(wanted, info.config):
            await jetstream.update_stream(wanted)


async def apply_consumer(jetstream: JetStreamContext, spec: ConsumerSpec) -> None:
    """Make the durable consumer as specified. Raises NotFoundError when its stream is gone."""
    wanted = spec.config()
    try:
        info = await jetstream.consumer_info(spec.stream.name, spec.name)
    except NotFoundError:
        await jetstream.add_consumer(spec.stream.name, wanted)
        return
    if _differs(wanted, info.config):
        await jetstream.add_consumer(spec.stream.name, wanted)


def _differs(wanted: StreamConfig | ConsumerConfig, found: StreamConfig | ConsumerConfig | None) -> bool:
    stated = {name: value for name, value in vars(wanted).items() if value is not None}
    return any(getattr(found, name) != value and (value or getattr(found, name)) for name, value in stated.items())
