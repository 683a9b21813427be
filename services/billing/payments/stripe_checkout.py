"""Stripe Checkout. Source: https://docs.stripe.com/payments/checkout/fulfillment."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field, ValidationError

from services.billing.domain import InvalidPaymentEvent, PaymentProviderFailed
from services.billing.payments.provider import Outcome, PaymentEvent, PaymentSession, Purchase
from services.mesh.telemetry import get_logger

if TYPE_CHECKING:
    from stripe.params.checkout import SessionCreateParams

ATTEMPT_SECONDS = 5.0
RETRIES = 1
TOTAL_SECONDS = 12.0
OLDEST_EVENT_SECONDS = 300
LONGEST_SIGNATURE = 4096
_PAID = frozenset({"checkout.session.completed", "checkout.session.async_payment_succeeded"})
_GIVEN_UP = frozenset({"checkout.session.expired", "checkout.session.async_payment_failed"})
_logger = get_logger("billing.stripe")


class _Session(BaseModel):
    id: str
    metadata: dict[str, str] | None = None
    payment_status: Literal["paid", "unpaid", "no_payment_required"]
    amount_total: int | None = None
    currency: str | None = None


class _Data(BaseModel):
    session: _Session = Field(alias="object")


class _Event(BaseModel):
    type: str


class _SessionEvent(_Event):
    data: _Data


class StripeCheckout:
    """Sells through Stripe's hosted page. api_url: empty for Stripe's own. webhook_secrets: any of them may have signed."""

    sells = True

    def __init__(self, secret_key: str, webhook_secrets: Sequence[str], api_url: str = "") -> None:
        # Megabytes of code that an installation which sells nothing does not need.
        import requests
        import stripe

        self._stripe, self._webhook_secrets, self._session = stripe, webhook_secrets, requests.Session()
        self._client = stripe.StripeClient(
            secret_key,
            base_addresses={"api": api_url} if api_url else {},
            max_network_retries=RETRIES,
            http_client=stripe.RequestsClient(timeout=ATTEMPT_SECONDS, session=self._session),
        )

    def close(self) -> None:
        """Close the connections to Stripe."""
        self._session.close()

    async def begin(self, purchase: Purchase) -> PaymentSession:
        """Make a session; the library has no client for the async HTTP library in use, so it waits in a thread."""
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                return await asyncio.to_thread(self._begin, purchase)
        except TimeoutError as error:
            raise PaymentProviderFailed from error
        except self._stripe.StripeError as error:
            # Its message may quote the request.
            _logger.warning("stripe refused", kind=type(error).__name__, status=error.http_status, code=error.code)
            raise PaymentProviderFailed from error

    def _begin(self, purchase: Purchase) -> PaymentSession:
        options = {"idempotency_key": purchase.checkout_id}
        session = self._client.v1.checkout.sessions.create(_parameters(purchase), options)  # type: ignore[arg-type]
        if not session.url:
            raise PaymentProviderFailed
        return PaymentSession(session.id, session.url)

    def read_event(self, payload: bytes, signature: str) -> PaymentEvent | None:
        """An event of a session that a purchase here began. Raises InvalidPaymentEvent."""
        self._verify(payload, signature)
        try:
            if _Event.model_validate_json(payload).type not in _PAID | _GIVEN_UP:
                return None
            event = _SessionEvent.model_validate_json(payload)
        except ValidationError as error:
            raise InvalidPaymentEvent from error
        return _payment_event(event.type, event.data.session)

    def _verify(self, payload: bytes, signature: str) -> None:
        # The library compares signatures in a way that raises TypeError past ASCII.
        if not signature.isascii() or len(signature) > LONGEST_SIGNATURE:
            raise InvalidPaymentEvent
        if not any(self._signed(payload, signature, secret) for secret in self._webhook_secrets):
            raise InvalidPaymentEvent

    def _signed(self, payload: bytes, signature: str, secret: str) -> bool:
        try:
            self._stripe.WebhookSignature.verify_header(payload, signature, secret, OLDEST_EVENT_SECONDS)
        except (self._stripe.SignatureVerificationError, UnicodeDecodeError):
            return False
        return True


def _payment_event(kind: str, session: _Session) -> PaymentEvent | None:
    checkout_id = (session.metadata or {}).get("checkout_id", "")
    outcome = Outcome.PAID if kind in _PAID else Outcome.GIVEN_UP
    # Methods that take days complete the session unpaid and tell of the money later.
    if not checkout_id or (outcome is Outcome.PAID and session.payment_status == "unpaid"):
        return None
    return PaymentEvent(outcome, checkout_id, session.id, session.amount_total or 0, (session.currency or "").lower())


def _parameters(purchase: Purchase) -> "SessionCreateParams":
    return {
        "mode": "payment",
        "client_reference_id": purchase.checkout_id,
        "metadata": {"checkout_id": purchase.checkout_id},
        "success_url": purchase.success_url,
        "cancel_url": purchase.cancel_url,
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": purchase.currency,
                    "unit_amount": purchase.price_cents,
                    "product_data": {"name": purchase.title},
                },
            }
        ],
    }
