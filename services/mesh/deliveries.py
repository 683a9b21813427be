"""What a consumer's handler gets, and how it refuses."""

from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.message import DecodeError, Message
from nats.aio.msg import Msg

from services.mesh.tracing.parents import TRACE_PARENT

EVENT_ID = "Nats-Msg-Id"
MESSAGE_TYPE = "Steno-Message"
# A watched event has a reply subject too: the publisher's, who waits for the stream's answer.
_ACK_SUBJECT = "$JS.ACK."

M = TypeVar("M", bound=Message)


class Reject(Exception):
    """The message can never be handled: it goes to the dead letters with this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Pending:
    """What a consumer's queue still holds: not delivered yet, and delivered but not acknowledged."""

    waiting: int
    outstanding: int


@dataclass(frozen=True)
class Delivery:
    """One message in hand; `deliveries` counts from 1, and is 0 for a watched subject."""

    event_id: str
    subject: str
    message_type: str
    payload: bytes
    deliveries: int
    trace_parent: str
    _message: Msg

    async def extend(self) -> None:
        """Ask the server for another ack_wait; the consumer does so by itself while the handler runs."""
        if self.deliveries:
            await self._message.in_progress()

    def parse(self, message: type[M]) -> M:
        """The payload as this message. Raises Reject when it is another or cannot be decoded."""
        if self.message_type != message.DESCRIPTOR.full_name:
            raise Reject(f"expected {message.DESCRIPTOR.full_name}, got {self.message_type}")
        try:
            return message.FromString(self.payload)
        except DecodeError as error:
            raise Reject(f"undecodable {self.message_type}") from error


def delivery_of(message: Msg) -> Delivery:
    """The delivery of a NATS message. Raises Reject without the headers that every Steno message has."""
    headers = message.headers or {}
    if EVENT_ID not in headers or MESSAGE_TYPE not in headers:
        raise Reject("no event id or message type")
    return Delivery(
        event_id=headers[EVENT_ID],
        subject=message.subject,
        message_type=headers[MESSAGE_TYPE],
        payload=message.data,
        deliveries=message.metadata.num_delivered if message.reply.startswith(_ACK_SUBJECT) else 0,
        trace_parent=headers.get(TRACE_PARENT, ""),
        _message=message,
    )
