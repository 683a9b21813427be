"""Buying credit: begun with the payment provider, added when the provider says that it was paid."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from services.billing import domain, keys
from services.billing.domain import CheckoutState
from services.billing.payments.provider import Outcome, PaymentEvent, PaymentProvider, PaymentSession, Purchase
from services.billing.plans import Pack
from services.billing.store import accounts, checkouts
from services.billing.store.tables import Checkout, Workspace
from services.billing.usecases.assignment import move
from services.billing.usecases.billing import Billing
from services.billing.usecases.ledger import add_credit
from services.billing.usecases.permissions import is_guest_without_wallet
from services.mesh import fault, semconv
from services.mesh.database import retried
from services.mesh.identity import Caller
from services.mesh.ids import is_id, new_id
from services.mesh.telemetry import get_logger
from steno.billing.v1.payments_service_pb2 import CreditPack

_logger = get_logger("billing.payments")


@dataclass(frozen=True)
class Order:
    """A purchase to begin."""

    credit_pack: str
    success_url: str
    cancel_url: str


@dataclass(frozen=True)
class Agreed:
    """A purchase that the provider took on."""

    checkout_id: str
    pack: Pack
    session: PaymentSession


def list_packs(billing: Billing, provider: PaymentProvider) -> Sequence[CreditPack]:
    """What is on sale, in the order of the plans file."""
    return [pack.proto for pack in billing.plans.packs.values()] if provider.sells else []


async def begin_checkout(billing: Billing, provider: PaymentProvider, caller: Caller, order: Order) -> tuple[Checkout, str]:
    """A purchase for the caller's wallet; a guest without one gets a wallet, and the token to it, which is kept nowhere.

    Nothing is stored before the provider has agreed: until then nobody knows where to pay.
    Raises PaymentsDisabled, UnknownCreditPack, PaymentProviderFailed, WorkspaceNotFound.
    """
    if not provider.sells:
        raise domain.PaymentsDisabled
    pack, checkout_id = billing.plans.pack(order.credit_pack), new_id()
    price = pack.proto
    purchase = Purchase(checkout_id, price.title, price.price_cents, price.currency, order.success_url, order.cancel_url)
    await _check_wallet(billing, caller)
    session = await provider.begin(purchase)
    fault.point("billing.checkout.after_provider")
    token = keys.new_guest_token() if is_guest_without_wallet(caller) else ""
    checkout = await retried(lambda: _store(billing, caller, token, Agreed(checkout_id, pack, session)))
    semconv.CHECKOUTS.labels("begun").inc()
    return checkout, token


async def _store(billing: Billing, caller: Caller, token: str, agreed: Agreed) -> Checkout:
    async with billing.database.transaction() as session:
        now = await accounts.read_clock(session, billing.clock)
        checkout = _new_checkout(caller, agreed, now)
        if token:
            wallet = _new_wallet(billing, caller, token, now)
            await accounts.add_workspace(session, wallet)
            checkout.wallet_id = wallet.id
        await checkouts.add_checkout(session, checkout)
        fault.point("billing.checkout.before_commit")
    fault.point("billing.checkout.after_commit")
    return checkout


async def _check_wallet(billing: Billing, caller: Caller) -> None:
    async with billing.database.reading() as session:
        if await accounts.find_wallet(session, caller.payer_id) is None:
            raise domain.WorkspaceNotFound(workspace_id=caller.payer_id)


def _new_wallet(billing: Billing, caller: Caller, token: str, now: datetime) -> Workspace:
    return Workspace(
        id=new_id(),
        parent_id=caller.workspace_id,
        guest_digest=keys.digest(billing.pepper, token),
        name="anonymous buyer",
        plan=billing.plans.guest,
        create_time=now,
        period=domain.period_of(now),
    )


def _new_checkout(caller: Caller, agreed: Agreed, now: datetime) -> Checkout:
    price = agreed.pack.proto
    return Checkout(
        id=agreed.checkout_id,
        workspace_id=caller.workspace_id,
        wallet_id=caller.payer_id,
        credit_pack=price.name,
        amount_ms=price.amount_ms,
        price_cents=price.price_cents,
        currency=price.currency,
        plan=agreed.pack.plan,
        session_id=agreed.session.id,
        url=agreed.session.url,
        state=CheckoutState.OPEN.value,
        create_time=now,
    )


async def get_checkout(billing: Billing, caller: Caller, checkout_id: str) -> Checkout:
    """A purchase for the caller's wallet. Raises CheckoutNotFound."""
    if not is_id(checkout_id) or is_guest_without_wallet(caller):
        raise domain.CheckoutNotFound
    async with billing.database.reading() as session:
        checkout = await checkouts.find_own_checkout(session, caller.workspace_id, caller.payer_id, checkout_id)
    if checkout is None:
        raise domain.CheckoutNotFound(checkout_id=checkout_id)
    return checkout


async def take_event(billing: Billing, provider: PaymentProvider, payload: bytes, signature: str) -> None:
    """Do what an event of the provider says, once however often it comes. Raises PaymentsDisabled, InvalidPaymentEvent."""
    try:
        event = provider.read_event(payload, signature)
        if event is not None:
            await retried(lambda: _apply(billing, event))
    except domain.InvalidPaymentEvent:
        semconv.CHECKOUTS.labels("refused").inc()
        raise


async def _apply(billing: Billing, event: PaymentEvent) -> None:
    async with billing.database.transaction() as session:
        checkout = await checkouts.find_checkout(session, event.checkout_id)
        if checkout is None:
            # Another installation may share the account, and its events come here as well.
            _logger.warning("payment event of an unknown checkout", checkout_id=event.checkout_id[:64], outcome=event.outcome.name)
            return
        _check_terms(checkout, event)
        ended = await (_pay(billing, session, checkout) if event.outcome is Outcome.PAID else _give_up(billing, session, checkout))
        fault.point("billing.payment.before_commit")
    fault.point("billing.payment.after_commit")
    if ended:
        semconv.CHECKOUTS.labels(event.outcome.name.lower()).inc()
        _logger.info("checkout ended", checkout_id=checkout.id, outcome=event.outcome.name, wallet_id=checkout.wallet_id)


def _check_terms(checkout: Checkout, event: PaymentEvent) -> None:
    """Raises InvalidPaymentEvent unless the event is about the session and the price that were agreed."""
    agreed = (checkout.session_id, checkout.price_cents, checkout.currency)
    if agreed != (event.session_id, event.price_cents, event.currency):
        _logger.error("payment differs from its checkout", checkout_id=checkout.id, price_cents=event.price_cents, currency=event.currency)
        raise domain.InvalidPaymentEvent("The event is about another session or price than its purchase.")


async def _pay(billing: Billing, session: AsyncSession, checkout: Checkout) -> bool:
    position = await add_credit(billing, session, domain.purchase_entry(checkout.wallet_id, checkout.id, checkout.amount_ms))
    # The wallet is locked from here on: of the same event at once, the others see what the first one wrote.
    if not await checkouts.end_checkout(session, checkout.id, CheckoutState.PAID, position.now):
        return False
    await _raise_plan(billing, session, checkout, position.plan)
    return True


async def _raise_plan(billing: Billing, session: AsyncSession, checkout: Checkout, current: str) -> None:
    """Move the wallet to the plan of its pack. Whoever is on one of the same or a higher tier has paid for no less."""
    plan = billing.plans.plans.get(checkout.plan)
    if plan is not None and plan.tier_level > billing.plans.get(current).tier_level:
        await move(billing, session, checkout.wallet_id, plan)
    elif checkout.plan and plan is None:
        _logger.error("the plan of a paid pack is gone from the plans file", checkout_id=checkout.id, plan=checkout.plan)


async def _give_up(billing: Billing, session: AsyncSession, checkout: Checkout) -> bool:
    now = await accounts.read_clock(session, billing.clock)
    return await checkouts.end_checkout(session, checkout.id, CheckoutState.EXPIRED, now)
