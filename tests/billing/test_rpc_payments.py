"""Buying credit over gRPC, with a local server that plays Stripe."""

import asyncio
import io
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.billing.app import payment_provider
from services.billing.keys import SecretUnusable
from services.billing.payments import stripe_checkout
from services.billing.settings import BillingSettings
from services.billing.usecases import payments as usecases
from services.mesh.identity import Caller, CallerKind, calling_as
from services.mesh.ids import new_id
from services.mesh.telemetry import configure_logging, get_logger
from steno.billing.v1 import accounts_service_pb2 as accounts
from steno.billing.v1 import billing_service_pb2 as billing
from steno.billing.v1 import payments_service_pb2 as payments
from tests.billing.service import Running, acting, refusal, running
from tests.billing.stage import MINUTE_MS
from tests.billing.stripe_player import SECRET_KEY, WEBHOOK_SECRET, StripePlayer, paid_event, sign, stripe_player


def _selling(directory: Path, player: StripePlayer) -> dict[str, Any]:
    key, webhook = directory / "stripe-key", directory / "stripe-webhook"
    for path, secret in ((key, SECRET_KEY), (webhook, WEBHOOK_SECRET)):
        path.touch(0o600)
        path.write_text(secret + "\n")
    return {
        "payment_provider": "stripe",
        "stripe_secret_key_file": key,
        "stripe_webhook_secret_file": webhook,
        "stripe_url": player.url,
    }


@pytest.fixture
def player() -> Iterator[StripePlayer]:
    with stripe_player() as opened:
        yield opened


@pytest.fixture
async def shop(tmp_path: Path, player: StripePlayer) -> AsyncIterator[Running]:
    """A billing service that sells through Stripe."""
    async with running(tmp_path, **_selling(tmp_path, player)) as opened:
        yield opened


def _order(pack: str = "hour", **changes: str) -> payments.CreateCheckoutRequest:
    urls = {"success_url": "https://app.example.com/done?id=1", "cancel_url": "http://localhost:3000/"}
    return payments.CreateCheckoutRequest(**{"credit_pack": pack, **urls, **changes})


def _event(payload: bytes) -> payments.TakePaymentEventRequest:
    return payments.TakePaymentEventRequest(payload=payload, signature=sign(payload))


async def test_a_guest_buys_credit_and_pays_with_it(shop: Running, player: StripePlayer) -> None:
    workspace_id = await shop.new_workspace()
    with calling_as(Caller(CallerKind.GUEST, "gateway", workspace_id, "guest:key")):
        packs = (await shop.payments.ListCreditPacks(payments.ListCreditPacksRequest())).credit_packs
        assert [pack.name for pack in packs] == ["hour", "upgrade"]
        assert (packs[0].amount_ms, packs[0].price_cents, packs[0].currency) == (60 * MINUTE_MS, 500, "eur")
        made = await shop.payments.CreateCheckout(_order())
    assert made.checkout.state == payments.Checkout.STATE_OPEN
    assert made.checkout.url.startswith(player.url)
    with acting(workspace_id):
        found = await shop.accounts.ResolveGuest(accounts.ResolveGuestRequest(guest_token=made.guest_token))
    assert found.plan.name == "guest"

    payload = paid_event(player.session_of(made.checkout.id))
    with calling_as(Caller(CallerKind.SERVICE, "gateway")):
        await asyncio.gather(*(shop.payments.TakePaymentEvent(_event(payload)) for _ in range(20)))
    buyer = Caller(CallerKind.GUEST, "gateway", workspace_id, f"guest:{found.wallet_id}", wallet_id=found.wallet_id)
    with calling_as(buyer):
        paid = (await shop.payments.GetCheckout(payments.GetCheckoutRequest(checkout_id=made.checkout.id))).checkout
        assert (paid.state, paid.url) == (payments.Checkout.STATE_PAID, "")
        assert (await shop.gateway_billing.GetBalance(billing.GetBalanceRequest())).balance.available_ms == 60 * MINUTE_MS
        again = await shop.payments.CreateCheckout(_order("upgrade"))
        assert again.guest_token == ""
    assert await shop.balance(workspace_id) == (100, 0, 0)


async def test_every_refusal_of_a_purchase_names_its_reason(shop: Running, player: StripePlayer) -> None:
    workspace_id = await shop.new_workspace()
    payload = paid_event({"id": "cs_1"})
    with calling_as(Caller(CallerKind.KEY, "gateway", workspace_id, "workspace")):
        refused: dict[str, Awaitable[object]] = {
            "UNKNOWN_CREDIT_PACK": shop.payments.CreateCheckout(_order("gold")),
            "CHECKOUT_NOT_FOUND": shop.payments.GetCheckout(payments.GetCheckoutRequest(checkout_id=new_id())),
            "INVALID_PAYMENT_EVENT": shop.payments.TakePaymentEvent(
                payments.TakePaymentEventRequest(payload=payload, signature="t=1,v1=0")
            ),
            "INVALID_FIELD": shop.payments.CreateCheckout(payments.CreateCheckoutRequest(credit_pack="gold")),
        }
        assert {reason: await refusal(call) for reason, call in refused.items()} == {reason: reason for reason in refused}
        for other in ("", "1", "a\0", str(uuid.uuid4())):
            assert await refusal(shop.payments.GetCheckout(payments.GetCheckoutRequest(checkout_id=other))) == "CHECKOUT_NOT_FOUND"
        large = b" " * (64 * 1024 + 1)
        assert await refusal(shop.payments.TakePaymentEvent(_event(large))) == "INVALID_PAYMENT_EVENT"
        player.status = 500
        assert await refusal(shop.payments.CreateCheckout(_order())) == "PAYMENT_PROVIDER_FAILED"


@pytest.mark.parametrize("url", ["", "javascript:alert(1)", "//evil", "https://", "https://u:p@h/", "http://h\n", "http://[", "http://h/é"])
async def test_a_buyer_is_sent_to_web_pages_only(service: Running, url: str) -> None:
    workspace_id = await service.new_workspace()
    with calling_as(Caller(CallerKind.KEY, "gateway", workspace_id, "workspace")):
        for field in ("success_url", "cancel_url"):
            assert await refusal(service.payments.CreateCheckout(_order(**{field: url}))) == "INVALID_FIELD"


async def test_an_installation_without_a_provider_sells_nothing(service: Running) -> None:
    workspace_id = await service.new_workspace()
    with calling_as(Caller(CallerKind.KEY, "gateway", workspace_id, "workspace")):
        assert not (await service.payments.ListCreditPacks(payments.ListCreditPacksRequest())).credit_packs
        assert await refusal(service.payments.CreateCheckout(_order())) == "PAYMENTS_DISABLED"
        assert await refusal(service.payments.TakePaymentEvent(_event(b"{}"))) == "PAYMENTS_DISABLED"


async def test_guest_tokens_and_secrets_of_stripe_are_neither_stored_nor_logged(
    tmp_path: Path, player: StripePlayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.StringIO()
    configure_logging("billing", "debug", "json", written)
    # Loggers keep the stream that was theirs when they first wrote.
    for module in (usecases, stripe_checkout):
        monkeypatch.setattr(module, "_logger", get_logger("billing.test"))
    try:
        async with running(tmp_path, **_selling(tmp_path, player)) as shop:
            workspace_id = await shop.new_workspace()
            with calling_as(Caller(CallerKind.GUEST, "gateway", workspace_id, "guest:key")):
                made = await shop.payments.CreateCheckout(_order())
                payload = paid_event(player.session_of(made.checkout.id))
                await shop.payments.TakePaymentEvent(_event(payload))
                await refusal(shop.payments.TakePaymentEvent(_event(payload.replace(b"500", b"501"))))
                player.status = 401
                await refusal(shop.payments.CreateCheckout(_order()))
            with acting(workspace_id):
                await shop.accounts.ResolveGuest(accounts.ResolveGuestRequest(guest_token=made.guest_token))
            kept = [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.startswith("stripe-")]
            stored = b"".join(path.read_bytes() for path in kept)
        assert made.checkout.id.encode() in stored
        logged = written.getvalue()
        assert made.checkout.id in logged
        for secret in (made.guest_token, SECRET_KEY, WEBHOOK_SECRET):
            assert secret.encode() not in stored
            assert secret.removeprefix("gt_") not in logged
    finally:
        logging.getLogger().handlers.clear()


def test_stripe_without_usable_secrets_does_not_start(tmp_path: Path, player: StripePlayer) -> None:
    with pytest.raises(ValueError, match="stripe_webhook_secret_file"):
        BillingSettings(payment_provider="stripe", stripe_secret_key_file=tmp_path / "key")
    settings = _selling(tmp_path, player)
    for path in (settings["stripe_secret_key_file"], settings["stripe_webhook_secret_file"]):
        content = path.read_text()
        path.write_text(" \n")
        with pytest.raises(SecretUnusable, match="empty"):
            payment_provider(BillingSettings(**settings))
        path.write_text(content)
