"""Operations on the caller's account: identity, keys, credit."""

from collections.abc import Sequence

from services.gateway.contracts.native import schemas
from services.gateway.contracts.native.accounts import Accounts
from services.gateway.contracts.native.payments import Payments
from services.gateway.domain import Reason
from services.gateway.operation import Answer, Body, OpenOperation, Operation, RateKind
from services.mesh.identity import Scope


def account_operations(accounts: Accounts) -> Sequence[Operation]:
    """Who calls, what it has, what it used."""
    return [
        Operation("GET", "/me", "get_me", "What the server sees", accounts.me, {200: Answer("The caller.", schemas.Me)}),
        Operation(
            "GET", "/credits", "get_credits", "The caller's credit", accounts.credits, {200: Answer("The balance.", schemas.Credits)}
        ),
        Operation(
            "GET", "/usage", "get_usage", "The caller's usage this month", accounts.usage, {200: Answer("The usage.", schemas.UsageReport)}
        ),
    ]


def key_operations(accounts: Accounts) -> Sequence[Operation]:
    """The workspace's API keys."""
    return [
        Operation(
            "GET",
            "/auth/api-keys",
            "list_api_keys",
            "The workspace's API keys",
            accounts.list_keys,
            {200: Answer("Every key, newest first.", schemas.KeyRow, is_list=True)},
            scope=Scope.ADMIN,
            rate=RateKind.TOKENS,
        ),
        Operation(
            "POST",
            "/auth/api-keys",
            "create_api_key",
            "Make an API key",
            accounts.create_key,
            {201: Answer("The key with its secret, shown this once.", schemas.CreatedKey)},
            (Reason.BAD_REQUEST, Reason.BAD_FIELD),
            Body(schemas.NewKey),
            scope=Scope.ADMIN,
            rate=RateKind.TOKENS,
        ),
        Operation(
            "DELETE",
            "/auth/api-keys/{key_id}",
            "revoke_api_key",
            "End an API key",
            accounts.revoke_key,
            {204: Answer("It has ended.")},
            (Reason.BAD_ID, "API_KEY_NOT_FOUND"),
            scope=Scope.ADMIN,
            rate=RateKind.TOKENS,
        ),
    ]


def payment_operations(payments: Payments) -> Sequence[Operation | OpenOperation]:
    """Buying credit."""
    return [
        Operation(
            "GET",
            "/credits/packs",
            "list_credit_packs",
            "Credit on sale",
            payments.packs,
            {200: Answer("Every pack; none where nothing is sold.", schemas.Pack, is_list=True)},
        ),
        Operation(
            "POST",
            "/credits/checkout",
            "create_checkout",
            "Begin to buy credit",
            payments.create_checkout,
            {201: Answer("Where to pay.", schemas.NewCheckoutRow)},
            (Reason.BAD_REQUEST, Reason.BAD_FIELD, "UNKNOWN_CREDIT_PACK", "PAYMENTS_DISABLED", "PAYMENT_PROVIDER_FAILED"),
            Body(schemas.NewCheckout),
            rate=RateKind.TOKENS,
        ),
        Operation(
            "GET",
            "/credits/checkout/{checkout_id}",
            "get_checkout",
            "Where a purchase stands",
            payments.checkout,
            {200: Answer("The purchase.", schemas.CheckoutRow)},
            (Reason.BAD_ID, "CHECKOUT_NOT_FOUND"),
        ),
        _take_event(payments),
    ]


def _take_event(payments: Payments) -> OpenOperation:
    return OpenOperation(
        "POST",
        "/payments/stripe/events",
        "take_payment_event",
        "For the payment provider: what became of a purchase",
        payments.take_event,
        {200: Answer("The event is taken.", schemas.Nothing)},
        (Reason.BAD_REQUEST, "INVALID_PAYMENT_EVENT", "PAYMENTS_DISABLED"),
        headers=schemas.PaymentEventHeaders,
        body=Body(schemas.PaymentEvent),
    )
