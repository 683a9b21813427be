"""Purchases on real databases: paid credit is added once, whatever comes in whatever order."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.billing.domain import CheckoutNotFound, CheckoutState, InvalidPaymentEvent, PaymentProviderFailed, PaymentsDisabled
from services.billing.payments.provider import OperatorOnly, PaymentProvider
from services.billing.payments.stripe_checkout import StripeCheckout
from services.billing.store.tables import Checkout
from services.billing.usecases import ledger, payments, users
from services.billing.usecases.assignment import assign_plan
from services.billing.usecases.payments import Order
from services.billing.usecases.verification import verify_ledger
from services.mesh.identity import Caller, CallerKind
from services.mesh.ids import new_id
from tests.billing.stage import MINUTE_MS, PLANS, Stage, open_stage
from tests.billing.stripe_player import SECRET_KEY, WEBHOOK_SECRET, StripePlayer, event_of, paid_event, sign, stripe_player

HOUR, UPGRADE = (Order(pack, "https://app.example.com/done", "https://app.example.com/") for pack in ("hour", "upgrade"))


@dataclass
class Shop:
    """A provider and the Stripe that plays behind it."""

    provider: PaymentProvider
    player: StripePlayer

    async def deliver(self, stage: Stage, payload: bytes) -> None:
        """Take a signed event."""
        await payments.take_event(stage.billing, self.provider, payload, sign(payload))

    def session(self, checkout: Checkout) -> dict[str, Any]:
        """Stripe's side of a checkout."""
        return self.player.session_of(checkout.id)


@pytest.fixture
def shop() -> Iterator[Shop]:
    with stripe_player() as player:
        provider = StripeCheckout(SECRET_KEY, [WEBHOOK_SECRET], player.url)
        yield Shop(provider, player)
        provider.close()


def _key(workspace_id: str) -> Caller:
    return Caller(CallerKind.KEY, "gateway", workspace_id, "workspace")


def _guest(workspace_id: str, wallet_id: str = "") -> Caller:
    return Caller(CallerKind.GUEST, "gateway", workspace_id, f"guest:{wallet_id or 'key'}", wallet_id=wallet_id)


async def _available(stage: Stage, wallet_id: str) -> float:
    return (await ledger.get_balance(stage.billing, wallet_id)).available_ms / MINUTE_MS


async def _state(stage: Stage, caller: Caller, checkout: Checkout) -> str:
    return (await payments.get_checkout(stage.billing, caller, checkout.id)).state


async def test_an_event_delivered_twenty_times_at_once_adds_the_credit_once(
    stage: Stage, shop: Shop, database_url: str, tmp_path: Path
) -> None:
    workspace = await stage.workspace()
    checkout, token = await payments.begin_checkout(stage.billing, shop.provider, _key(workspace.id), UPGRADE)
    assert token == ""
    payload = paid_event(shop.session(checkout))
    async with open_stage(database_url, tmp_path, stage.clock) as other:
        await asyncio.gather(*(shop.deliver(replica, payload) for replica in (stage, other) * 10))
    # 100 of the small plan, 120 bought, and the 100 that the priced plan has more.
    assert await _available(stage, workspace.id) == 320
    grants = await stage.rows("SELECT id, amount_ms FROM transfer WHERE kind = 'GRANT' ORDER BY amount_ms DESC, id DESC")
    assert grants[0] == (f"payment:{checkout.id}", 120 * MINUTE_MS)
    assert len(grants) == 3
    assert await stage.rows("SELECT plan FROM workspace") == [("priced",)]
    found = await verify_ledger(stage.billing)
    assert found.is_sound


async def test_a_purchase_is_open_until_it_is_paid(stage: Stage, shop: Shop) -> None:
    caller = _key((await stage.workspace()).id)
    checkout, _ = await payments.begin_checkout(stage.billing, shop.provider, caller, HOUR)
    assert await _state(stage, caller, checkout) == CheckoutState.OPEN
    await shop.deliver(stage, event_of("checkout.session.completed", shop.session(checkout)))
    assert await _state(stage, caller, checkout) == CheckoutState.OPEN
    assert await _available(stage, caller.workspace_id) == 100
    await shop.deliver(stage, event_of("checkout.session.async_payment_succeeded", shop.session(checkout), payment_status="paid"))
    assert await _state(stage, caller, checkout) == CheckoutState.PAID
    assert await _available(stage, caller.workspace_id) == 160


async def test_money_that_comes_after_giving_up_still_buys_and_giving_up_takes_nothing_back(stage: Stage, shop: Shop) -> None:
    caller = _key((await stage.workspace()).id)
    checkout, _ = await payments.begin_checkout(stage.billing, shop.provider, caller, HOUR)
    given_up = event_of("checkout.session.expired", shop.session(checkout))
    await shop.deliver(stage, given_up)
    assert await _state(stage, caller, checkout) == CheckoutState.EXPIRED
    await shop.deliver(stage, paid_event(shop.session(checkout)))
    await shop.deliver(stage, given_up)
    assert await _state(stage, caller, checkout) == CheckoutState.PAID
    assert await _available(stage, caller.workspace_id) == 160


@pytest.mark.parametrize("changes", [{"amount_total": 1}, {"currency": "usd"}, {"id": "cs_other"}, {"amount_total": None}])
async def test_an_event_about_another_price_or_session_adds_nothing(stage: Stage, shop: Shop, changes: dict[str, Any]) -> None:
    caller = _key((await stage.workspace()).id)
    checkout, _ = await payments.begin_checkout(stage.billing, shop.provider, caller, HOUR)
    with pytest.raises(InvalidPaymentEvent):
        await shop.deliver(stage, paid_event(shop.session(checkout), **changes))
    assert await _state(stage, caller, checkout) == CheckoutState.OPEN
    assert await _available(stage, caller.workspace_id) == 100


async def test_a_purchase_keeps_the_terms_that_it_began_with(stage: Stage, shop: Shop, database_url: str, tmp_path: Path) -> None:
    caller = _key((await stage.workspace()).id)
    checkout, _ = await payments.begin_checkout(stage.billing, shop.provider, caller, UPGRADE)
    dearer = PLANS.replace("minutes = 120\nprice_cents = 900", "minutes = 1\nprice_cents = 9000").replace('plan = "priced"', "")
    async with open_stage(database_url, tmp_path, stage.clock, plans=dearer) as later:
        await shop.deliver(later, paid_event(shop.session(checkout)))
        assert await _available(later, caller.workspace_id) == 320


async def test_an_event_of_an_unknown_checkout_is_taken_and_changes_nothing(stage: Stage, shop: Shop) -> None:
    workspace = await stage.workspace()
    session = {"id": "cs_9", "metadata": {"checkout_id": new_id()}, "amount_total": 500, "currency": "eur"}
    await shop.deliver(stage, paid_event(session))
    assert await _available(stage, workspace.id) == 100


async def test_an_anonymous_buyer_gets_a_wallet_with_what_was_bought_and_nothing_more(stage: Stage, shop: Shop) -> None:
    workspace = await stage.workspace()
    guest = _guest(workspace.id)
    checkout, token = await payments.begin_checkout(stage.billing, shop.provider, guest, HOUR)
    wallet = await users.resolve_guest(stage.billing, workspace.id, token)
    assert (wallet.id, wallet.plan) == (checkout.wallet_id, "guest")
    assert await _available(stage, wallet.id) == 0
    with pytest.raises(CheckoutNotFound):
        await payments.get_checkout(stage.billing, guest, checkout.id)

    await shop.deliver(stage, paid_event(shop.session(checkout)))
    buyer = _guest(workspace.id, wallet.id)
    assert await _state(stage, buyer, checkout) == CheckoutState.PAID
    second, no_token = await payments.begin_checkout(stage.billing, shop.provider, buyer, HOUR)
    assert (second.wallet_id, no_token) == (wallet.id, "")
    stage.clock.pass_by(days=40)
    assert await _available(stage, wallet.id) == 60
    assert await _available(stage, workspace.id) == 100


async def test_a_pack_with_a_plan_gives_an_anonymous_buyer_the_credit_of_that_plan(stage: Stage, shop: Shop) -> None:
    guest = _guest((await stage.workspace()).id)
    checkout, _ = await payments.begin_checkout(stage.billing, shop.provider, guest, UPGRADE)
    await shop.deliver(stage, paid_event(shop.session(checkout)))
    assert await _available(stage, checkout.wallet_id) == 320
    stage.clock.pass_by(days=40)
    assert await _available(stage, checkout.wallet_id) == 320


async def test_nobody_else_sees_a_purchase(stage: Stage, shop: Shop) -> None:
    workspace, stranger = await stage.workspace(), await stage.workspace()
    checkout, _ = await payments.begin_checkout(stage.billing, shop.provider, _key(workspace.id), HOUR)
    user = await users.resolve_user(stage.billing, workspace.id, "ann@example.com")
    others = (_key(stranger.id), _guest(workspace.id), Caller(CallerKind.USER, "gateway", workspace.id, "user", wallet_id=user.id))
    for caller in others:
        with pytest.raises(CheckoutNotFound):
            await payments.get_checkout(stage.billing, caller, checkout.id)


async def test_a_provider_that_fails_leaves_nothing_behind(stage: Stage, shop: Shop) -> None:
    guest = _guest((await stage.workspace()).id)
    shop.player.status = 500
    with pytest.raises(PaymentProviderFailed):
        await payments.begin_checkout(stage.billing, shop.provider, guest, HOUR)
    assert await stage.rows("SELECT count(*) FROM checkout") == [(0,)]
    assert await stage.rows("SELECT count(*) FROM workspace") == [(1,)]


async def test_without_a_provider_nothing_is_on_sale(stage: Stage, shop: Shop) -> None:
    caller, nobody = _key((await stage.workspace()).id), OperatorOnly()
    assert payments.list_packs(stage.billing, nobody) == []
    assert [pack.name for pack in payments.list_packs(stage.billing, shop.provider)] == ["hour", "upgrade"]
    with pytest.raises(PaymentsDisabled):
        await payments.begin_checkout(stage.billing, nobody, caller, HOUR)
    payload = paid_event({"id": "cs_1"})
    with pytest.raises(PaymentsDisabled):
        await payments.take_event(stage.billing, nobody, payload, sign(payload))


async def test_a_pack_takes_nobody_off_a_plan_of_the_same_or_a_higher_tier(stage: Stage, shop: Shop) -> None:
    workspace = await stage.workspace()
    await assign_plan(stage.billing, workspace.id, "", "debt")
    checkout, _ = await payments.begin_checkout(stage.billing, shop.provider, _key(workspace.id), UPGRADE)
    await shop.deliver(stage, paid_event(shop.session(checkout)))
    assert await stage.rows("SELECT plan FROM workspace") == [("debt",)]
    assert await _available(stage, workspace.id) == 220


async def test_a_plan_that_is_gone_when_its_pack_is_paid_does_not_cost_the_credit(
    stage: Stage, shop: Shop, database_url: str, tmp_path: Path
) -> None:
    caller = _key((await stage.workspace()).id)
    checkout, _ = await payments.begin_checkout(stage.billing, shop.provider, caller, UPGRADE)
    renamed = PLANS.replace("[plans.priced]", "[plans.dear]").replace('plan = "priced"', 'plan = "dear"')
    async with open_stage(database_url, tmp_path, stage.clock, plans=renamed) as later:
        await shop.deliver(later, paid_event(shop.session(checkout)))
        assert await _available(later, caller.workspace_id) == 220
