"""A shop with one credit pack."""

from typing import Any

from services.mesh.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from services.mesh.identity import current_caller
from services.mesh.ids import new_id
from steno.billing.v1 import payments_service_pb2 as payments
from steno.billing.v1 import payments_service_pb2_grpc as payments_grpc
from steno.billing.v1.payments_service_pb2 import Checkout, CreditPack
from tests.gateway.peers.world import World

PACK = CreditPack(name="ten-hours", title="10 hours", amount_ms=36_000_000, price_cents=900, currency="usd")
SIGNATURE = "t=1,v1=good"


class UnknownCreditPack(InvalidArgument):
    """No such pack."""


class PaymentsDisabled(FailedPrecondition):
    """Nothing is sold."""


class PaymentProviderFailed(Unavailable):
    """No answer."""


class InvalidPaymentEvent(InvalidArgument):
    """Not signed."""


class CheckoutNotFound(NotFound):
    """No such purchase."""


class PaymentsPeer(payments_grpc.PaymentsServiceServicer):
    """A shop with one pack."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def ListCreditPacks(self, request: Any, context: Any) -> payments.ListCreditPacksResponse:
        return payments.ListCreditPacksResponse(credit_packs=[PACK] if self.world.sells else [])

    async def CreateCheckout(self, request: Any, context: Any) -> payments.CreateCheckoutResponse:
        if not self.world.sells:
            raise PaymentsDisabled
        if request.credit_pack != PACK.name:
            raise UnknownCreditPack
        if self.world.provider_fails:
            raise PaymentProviderFailed
        caller, token = current_caller(), ""
        wallet_id = caller.payer_id
        if caller.owner.startswith("guest:") and not caller.wallet_id:
            token, wallet_id = f"gt_{new_id()}", new_id()
            self.world.wallets[caller.workspace_id, token] = wallet_id
        checkout = Checkout(id=new_id(), credit_pack=PACK.name, state=Checkout.STATE_OPEN, url=f"{request.success_url}#pay")
        checkout.create_time.GetCurrentTime()
        self.world.checkouts[checkout.id] = (wallet_id, checkout)
        return payments.CreateCheckoutResponse(checkout=checkout, guest_token=token)

    async def GetCheckout(self, request: Any, context: Any) -> payments.GetCheckoutResponse:
        wallet_id, checkout = self.world.checkouts.get(request.checkout_id, ("", Checkout()))
        if wallet_id != current_caller().payer_id:
            raise CheckoutNotFound
        return payments.GetCheckoutResponse(checkout=checkout)

    async def TakePaymentEvent(self, request: Any, context: Any) -> payments.TakePaymentEventResponse:
        caller = current_caller()
        if request.signature != SIGNATURE:
            raise InvalidPaymentEvent
        self.world.payment_events.append((f"{caller.kind}:{caller.service}:{caller.workspace_id}", request.payload))
        return payments.TakePaymentEventResponse()
