"""Stripe Checkout against a local server that plays Stripe."""

from collections.abc import Iterator

import pytest

from services.billing.domain import InvalidPaymentEvent, PaymentProviderFailed
from services.billing.payments.provider import Outcome, PaymentEvent, Purchase
from services.billing.payments.stripe_checkout import StripeCheckout
from tests.billing.stripe_player import SECRET_KEY, WEBHOOK_SECRET, StripePlayer, event_of, paid_event, sign, stripe_player

CHECKOUT_ID = "01890000-0000-7000-8000-000000000001"
PURCHASE = Purchase(CHECKOUT_ID, "One hour", 500, "eur", "https://app.example.com/done", "https://app.example.com/")
SESSION = {"id": "cs_1", "metadata": {"checkout_id": CHECKOUT_ID}, "payment_status": "unpaid", "amount_total": 500, "currency": "eur"}
PAID = PaymentEvent(Outcome.PAID, CHECKOUT_ID, "cs_1", 500, "eur")


@pytest.fixture
def player() -> Iterator[StripePlayer]:
    with stripe_player() as opened:
        yield opened


@pytest.fixture
def stripe(player: StripePlayer) -> Iterator[StripeCheckout]:
    opened = StripeCheckout(SECRET_KEY, [WEBHOOK_SECRET], player.url)
    yield opened
    opened.close()


async def test_a_session_asks_for_the_price_and_names_the_checkout(stripe: StripeCheckout, player: StripePlayer) -> None:
    session = await stripe.begin(PURCHASE)
    again = await stripe.begin(PURCHASE)
    assert session == again
    assert session.url == f"{player.url}/pay/{session.id}"
    expected = {
        "mode": "payment",
        "client_reference_id": CHECKOUT_ID,
        "metadata[checkout_id]": CHECKOUT_ID,
        "success_url": PURCHASE.success_url,
        "cancel_url": PURCHASE.cancel_url,
        "line_items[0][quantity]": "1",
        "line_items[0][price_data][currency]": "eur",
        "line_items[0][price_data][unit_amount]": "500",
        "line_items[0][price_data][product_data][name]": "One hour",
    }
    assert player.forms[0] == expected
    assert player.headers[0]["Idempotency-Key"] == CHECKOUT_ID
    assert player.headers[0]["Authorization"] == f"Bearer {SECRET_KEY}"


@pytest.mark.parametrize("status", [400, 401, 402, 429, 500])
async def test_a_refusal_of_stripe_is_no_detail_for_the_buyer(stripe: StripeCheckout, player: StripePlayer, status: int) -> None:
    player.status = status
    with pytest.raises(PaymentProviderFailed) as refused:
        await stripe.begin(PURCHASE)
    assert refused.value.message == "The payment provider refused or did not answer."


async def test_a_stripe_that_is_down_is_a_failed_provider(stripe: StripeCheckout) -> None:
    unreachable = StripeCheckout(SECRET_KEY, [WEBHOOK_SECRET], "http://127.0.0.1:9")
    with pytest.raises(PaymentProviderFailed):
        await unreachable.begin(PURCHASE)
    unreachable.close()


def test_a_signed_event_of_a_paid_session_is_read(stripe: StripeCheckout) -> None:
    for payload in (paid_event(SESSION), event_of("checkout.session.async_payment_succeeded", SESSION, payment_status="paid")):
        assert stripe.read_event(payload, sign(payload)) == PAID


def test_a_session_that_is_complete_but_not_paid_yet_adds_nothing(stripe: StripeCheckout) -> None:
    payload = event_of("checkout.session.completed", SESSION)
    assert stripe.read_event(payload, sign(payload)) is None


@pytest.mark.parametrize("kind", ["checkout.session.expired", "checkout.session.async_payment_failed"])
def test_a_session_that_ended_unpaid_is_given_up(stripe: StripeCheckout, kind: str) -> None:
    payload = event_of(kind, SESSION)
    event = stripe.read_event(payload, sign(payload))
    assert event is not None
    assert event.outcome is Outcome.GIVEN_UP


@pytest.mark.parametrize(
    "payload",
    [event_of("invoice.paid", {"id": "in_1"}), event_of("customer.created", {}), paid_event({**SESSION, "metadata": {}})],
)
def test_what_is_not_about_a_purchase_of_ours_is_ignored(stripe: StripeCheckout, payload: bytes) -> None:
    assert stripe.read_event(payload, sign(payload)) is None


def test_an_event_counts_only_with_a_fresh_signature_of_a_known_secret(stripe: StripeCheckout) -> None:
    payload = paid_event(SESSION)
    good = sign(payload)
    changed = payload.replace(b'"amount_total": 500', b'"amount_total": 1')
    attempts = [
        (changed, good),
        (payload, sign(payload, "whsec_of_somebody_else")),
        (payload, sign(payload, age_seconds=301)),
        (payload, good.replace("v1=", "v0=")),
        (payload, good.replace("v1=", "v1=é")),
        (payload, f"t={'9' * 5000},v1=00"),
        (payload, "v1=,t="),
        (payload, ""),
        (payload + b"\xff", good),
    ]
    for body, signature in attempts:
        with pytest.raises(InvalidPaymentEvent):
            stripe.read_event(body, signature)
    assert stripe.read_event(payload, good) == PAID


@pytest.mark.parametrize("payload", [b"{}", b"[]", b"not json", paid_event({"id": "cs_1"}, payment_status="perhaps")])
def test_a_signed_body_of_another_shape_is_refused(stripe: StripeCheckout, payload: bytes) -> None:
    with pytest.raises(InvalidPaymentEvent):
        stripe.read_event(payload, sign(payload))


def test_either_secret_counts_while_one_replaces_the_other(player: StripePlayer) -> None:
    payload = paid_event(SESSION)
    rotating = StripeCheckout(SECRET_KEY, ["whsec_new", WEBHOOK_SECRET], player.url)
    assert rotating.read_event(payload, sign(payload, "whsec_new")) == PAID
    assert rotating.read_event(payload, sign(payload)) == PAID
    rotating.close()
