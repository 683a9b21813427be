"""Buying credit: packs, checkouts, and the payment provider's events."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.gateway.contracts.native.rows import epoch
from services.gateway.contracts.native.schemas import NewCheckout
from services.gateway.domain import Client, Json
from services.gateway.peers import Peers
from services.gateway.requests import read_body, read_id, read_json
from services.gateway.units import hours
from steno.billing.v1.payments_service_pb2 import (
    Checkout,
    CreateCheckoutRequest,
    GetCheckoutRequest,
    ListCreditPacksRequest,
    TakePaymentEventRequest,
)

MAX_EVENT_BYTES = 64 * 1024
_STATUSES = {Checkout.STATE_OPEN: "open", Checkout.STATE_PAID: "paid", Checkout.STATE_EXPIRED: "expired"}
_PROVIDER_SECONDS = 30.0


@dataclass(frozen=True)
class Payments:
    """Sells credit to whoever calls."""

    peers: Peers

    async def packs(self, request: Request, client: Client) -> Response:
        """What is on sale. Raises RemoteError."""
        packs = (await self.peers.payments.ListCreditPacks(ListCreditPacksRequest())).credit_packs
        return JSONResponse(
            [
                {
                    "name": pack.name,
                    "title": pack.title,
                    "hours": hours(pack.amount_ms),
                    "price_cents": pack.price_cents,
                    "currency": pack.currency,
                }
                for pack in packs
            ]
        )

    async def create_checkout(self, request: Request, client: Client) -> Response:
        """201 with where to pay, and for a guest without a wallet the token to its new one. Raises Refusal and RemoteError."""
        asked = await read_json(request, NewCheckout)
        call = CreateCheckoutRequest(credit_pack=asked.pack, success_url=asked.success_url, cancel_url=asked.cancel_url)
        answer = await self.peers.payments.CreateCheckout(call, timeout=_PROVIDER_SECONDS)
        row = checkout_row(answer.checkout)
        return JSONResponse({**row, "guest_token": answer.guest_token} if answer.guest_token else row, 201)

    async def checkout(self, request: Request, client: Client) -> Response:
        """Where a purchase stands. Raises Refusal and RemoteError."""
        call = GetCheckoutRequest(checkout_id=read_id(request, "checkout_id"))
        return JSONResponse(checkout_row((await self.peers.payments.GetCheckout(call)).checkout))

    async def take_event(self, request: Request) -> Response:
        """200 once the provider's event is taken; its signature is its permission. Raises Refusal and RemoteError."""
        signatures = request.headers.getlist("stripe-signature")
        payload = await read_body(request, MAX_EVENT_BYTES, "An event")
        call = TakePaymentEventRequest(payload=payload, signature=signatures[0] if len(signatures) == 1 else "")
        await self.peers.payments.TakePaymentEvent(call)
        return JSONResponse({})


def checkout_row(checkout: Checkout) -> dict[str, Json]:
    """A purchase as the contract shows it."""
    return {
        "checkout_id": checkout.id,
        "pack": checkout.credit_pack,
        "status": _STATUSES.get(checkout.state, "open"),
        "url": checkout.url or None,
        "created_at": epoch(checkout, "create_time"),
    }
