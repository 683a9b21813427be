"""Queries on purchases."""

from datetime import datetime

from sqlalchemy import update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.billing.domain import CheckoutState
from services.billing.store.tables import Checkout
from services.mesh.columns import table_of

_checkout = table_of(Checkout)


async def add_checkout(session: AsyncSession, checkout: Checkout) -> None:
    """Store a purchase."""
    session.add(checkout)
    await session.flush()


async def find_own_checkout(session: AsyncSession, workspace_id: str, wallet_id: str, checkout_id: str) -> Checkout | None:
    """The purchase of this id, if it is for this wallet of the workspace."""
    mine = (col(Checkout.workspace_id) == workspace_id, col(Checkout.wallet_id) == wallet_id)
    return (await session.exec(select(Checkout).where(col(Checkout.id) == checkout_id, *mine))).one_or_none()


async def find_checkout(session: AsyncSession, checkout_id: str) -> Checkout | None:
    """The purchase of this id, whosever it is: the payment provider names no workspace."""
    return (await session.exec(select(Checkout).where(col(Checkout.id) == checkout_id))).one_or_none()


async def end_checkout(session: AsyncSession, checkout_id: str, state: CheckoutState, now: datetime) -> bool:
    """Store how a purchase ended; says whether that changed it. Being paid is final, being given up is not."""
    ended = _checkout.c.state == CheckoutState.OPEN.value
    if state is CheckoutState.PAID:
        ended = _checkout.c.state != CheckoutState.PAID.value
    statement = update(_checkout).where(_checkout.c.id == checkout_id, ended).values(state=state.value, end_time=now)
    return bool((await (await session.connection()).execute(statement)).rowcount)
