"""PaymentsService."""

from typing import Any

from services.billing.payments.provider import PaymentProvider
from services.billing.rpc import fields, to_proto
from services.billing.usecases import payments
from services.billing.usecases.billing import Billing
from services.mesh.identity import current_caller
from steno.billing.v1 import payments_service_pb2 as messages
from steno.billing.v1.payments_service_pb2_grpc import PaymentsServiceServicer


class PaymentsRpc(PaymentsServiceServicer):
    """PaymentsService over the use cases."""

    def __init__(self, billing: Billing, provider: PaymentProvider) -> None:
        self._billing, self._provider = billing, provider

    async def ListCreditPacks(self, request: messages.ListCreditPacksRequest, context: Any) -> messages.ListCreditPacksResponse:
        return messages.ListCreditPacksResponse(credit_packs=payments.list_packs(self._billing, self._provider))

    async def CreateCheckout(self, request: messages.CreateCheckoutRequest, context: Any) -> messages.CreateCheckoutResponse:
        success_url, cancel_url = (fields.web_url(getattr(request, name), name) for name in ("success_url", "cancel_url"))
        order = payments.Order(request.credit_pack, success_url, cancel_url)
        checkout, guest_token = await payments.begin_checkout(self._billing, self._provider, current_caller(), order)
        return messages.CreateCheckoutResponse(checkout=to_proto.checkout(checkout), guest_token=guest_token)

    async def GetCheckout(self, request: messages.GetCheckoutRequest, context: Any) -> messages.GetCheckoutResponse:
        checkout = await payments.get_checkout(self._billing, current_caller(), request.checkout_id)
        return messages.GetCheckoutResponse(checkout=to_proto.checkout(checkout))

    async def TakePaymentEvent(self, request: messages.TakePaymentEventRequest, context: Any) -> messages.TakePaymentEventResponse:
        await payments.take_event(self._billing, self._provider, fields.payment_event(request.payload), request.signature)
        return messages.TakePaymentEventResponse()
