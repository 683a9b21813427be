"""What billing asks of a payment provider, and the one that sells nothing."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from services.billing.domain import PaymentsDisabled


@dataclass(frozen=True)
class Purchase:
    """What a buyer is asked to pay. checkout_id: repeating a purchase with the same one never makes a second session."""

    checkout_id: str
    title: str
    price_cents: int
    currency: str
    success_url: str
    cancel_url: str


@dataclass(frozen=True)
class PaymentSession:
    """Where the buyer pays."""

    id: str
    url: str


class Outcome(Enum):
    """What became of a session."""

    PAID = auto()
    GIVEN_UP = auto()


@dataclass(frozen=True)
class PaymentEvent:
    """What the provider says of one session."""

    outcome: Outcome
    checkout_id: str
    session_id: str
    price_cents: int
    currency: str


class PaymentProvider(Protocol):
    """Takes payments."""

    sells: bool

    def close(self) -> None:
        """Close what it holds open."""
        ...

    async def begin(self, purchase: Purchase) -> PaymentSession:
        """Make a session for a purchase. Raises PaymentsDisabled, PaymentProviderFailed."""
        ...

    def read_event(self, payload: bytes, signature: str) -> PaymentEvent | None:
        """An event with its signature verified; None when it is about nothing of ours.

        Raises PaymentsDisabled, InvalidPaymentEvent.
        """
        ...


class OperatorOnly:
    """No provider: credit is added by the operator's hand."""

    sells = False

    def close(self) -> None:
        """Nothing is open."""

    async def begin(self, purchase: Purchase) -> PaymentSession:
        raise PaymentsDisabled

    def read_event(self, payload: bytes, signature: str) -> PaymentEvent | None:
        raise PaymentsDisabled
