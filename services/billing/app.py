"""Billing, put together."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from services.billing import workers
from services.billing.events import consume_endings
from services.billing.keys import read_pepper, read_secrets
from services.billing.payments.provider import OperatorOnly, PaymentProvider
from services.billing.payments.stripe_checkout import StripeCheckout
from services.billing.plans import read_plans
from services.billing.rpc.accounts import AccountsRpc
from services.billing.rpc.billing import BillingRpc
from services.billing.rpc.payments import PaymentsRpc
from services.billing.settings import BillingSettings
from services.billing.store.tables import outbox
from services.billing.usecases.authentication import KeyUses, authenticate
from services.billing.usecases.batches import Batches, open_batches
from services.billing.usecases.billing import Billing
from services.billing.usecases.start import check_plans
from services.billing.usecases.verification import Verifier
from services.mesh.bus import open_bus
from services.mesh.columns import now_utc_sql
from services.mesh.database import open_database
from services.mesh.health import watch_health
from services.mesh.identity import Caller, TokenVerifier, load_key
from services.mesh.lifecycle import Lifecycle
from services.mesh.migrations import prepare_schema
from services.mesh.outbox import OutboxRelay
from services.mesh.server import Registration, open_server
from services.mesh.tls.certificates import open_certificates
from steno.billing.v1 import accounts_service_pb2, billing_service_pb2, payments_service_pb2
from steno.billing.v1.accounts_service_pb2_grpc import add_AccountsServiceServicer_to_server
from steno.billing.v1.billing_service_pb2_grpc import add_BillingServiceServicer_to_server
from steno.billing.v1.payments_service_pb2_grpc import add_PaymentsServiceServicer_to_server

SCHEMA = "billing"
MIGRATIONS = Path(__file__).with_name("migrations")


def registrations(billing: Billing, batches: Batches, uses: KeyUses, provider: PaymentProvider) -> Sequence[Registration]:
    """The gRPC services of billing."""
    payments = payments_service_pb2.DESCRIPTOR.services_by_name["PaymentsService"]
    accounts = accounts_service_pb2.DESCRIPTOR.services_by_name["AccountsService"]
    ledger = billing_service_pb2.DESCRIPTOR.services_by_name["BillingService"]
    return (
        Registration(add_AccountsServiceServicer_to_server, AccountsRpc(billing, uses), accounts),
        Registration(add_BillingServiceServicer_to_server, BillingRpc(billing, batches), ledger),
        Registration(add_PaymentsServiceServicer_to_server, PaymentsRpc(billing, provider), payments),
    )


def payment_provider(settings: BillingSettings) -> PaymentProvider:
    """Who takes payments. Raises SecretUnusable."""
    key_file, webhook_file = settings.stripe_secret_key_file, settings.stripe_webhook_secret_file
    if settings.payment_provider == "operator" or key_file is None or webhook_file is None:
        return OperatorOnly()
    return StripeCheckout(read_secrets(key_file)[0], read_secrets(webhook_file), settings.stripe_url)


@asynccontextmanager
async def app(settings: BillingSettings, lifecycle: Lifecycle) -> AsyncIterator[None]:
    """Billing while it serves. Raises SecretUnusable, PlansInvalid, OSError."""
    plans, pepper, provider = read_plans(settings.plans_file), read_pepper(settings.pepper_file), payment_provider(settings)
    verifier = TokenVerifier(load_key(settings.identity_key_file), audience=SCHEMA)
    await prepare_schema(settings.database_url, schema=SCHEMA, script_location=str(MIGRATIONS), profile=settings.profile)
    async with AsyncExitStack() as stack:
        tls = await stack.enter_async_context(open_certificates(settings))
        database = await stack.enter_async_context(open_database(settings.database_url, schema=SCHEMA))
        stack.callback(provider.close)
        bus = await stack.enter_async_context(open_bus(settings.nats_url, name=SCHEMA, tls=tls))
        relay, uses = OutboxRelay(database, outbox, bus), KeyUses()
        billing = Billing(database, plans, pepper, now_utc_sql(database.dialect), relay.wake)
        await check_plans(billing)
        batches = await stack.enter_async_context(open_batches(billing))
        await stack.enter_async_context(lifecycle.working())
        lifecycle.spawn(relay.run(lifecycle.stopping), "billing-outbox")
        lifecycle.spawn(consume_endings(batches, bus, lifecycle.stopping), "billing-holds")
        _spawn_workers(billing, uses, settings, lifecycle)

        async def authenticate_caller(secret: str) -> Caller:
            return (await authenticate(billing, uses, secret)).caller()

        servicers = registrations(billing, batches, uses, provider)
        opening = open_server(settings, verifier, authenticate=authenticate_caller, servicers=servicers, tls=tls)
        server = await stack.enter_async_context(opening)
        lifecycle.spawn(watch_health(server, {"database": database.check}, lifecycle.leaving), "billing-health")
        yield


def _spawn_workers(billing: Billing, uses: KeyUses, settings: BillingSettings, lifecycle: Lifecycle) -> None:
    stopping, interval = lifecycle.stopping, settings.verify_interval_seconds
    verifier = Verifier(billing, max(1.0, settings.verify_history_seconds / interval))
    lifecycle.spawn(workers.keep_checking_ledger(verifier, interval, stopping), "billing-verifier")
    lifecycle.spawn(workers.keep_storing_uses(billing, uses, stopping), "billing-key-uses")
