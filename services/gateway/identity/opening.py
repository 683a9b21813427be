"""Identity put together from settings."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from services.gateway.identity.documents import ISSUER_LIMITS, fetching
from services.gateway.identity.issuers import Issuer, read_issuers
from services.gateway.identity.people import People
from services.gateway.identity.resolution import Identity
from services.gateway.identity.signing_keys import FetchJson, PublishedKeys, SecretKey
from services.gateway.identity.tokens import Tokens, Trusted
from services.gateway.settings import GatewaySettings
from services.mesh.api_keys import ApiKeys
from services.mesh.egress.egress import open_egress
from steno.billing.v1.accounts_service_pb2_grpc import AccountsServiceAsyncStub


@asynccontextmanager
async def open_identity(settings: GatewaySettings, keys: ApiKeys, accounts: AccountsServiceAsyncStub) -> AsyncIterator[Identity]:
    """Who is who. Let a task run its `keep_keys` meanwhile. Raises IssuersInvalid."""
    issuers = read_issuers(settings.oidc_issuers_file)
    people = People(accounts, remember_seconds=settings.authentication_cache_seconds)
    if not issuers:
        yield Identity(keys, people, Tokens({}))
        return
    async with open_egress(settings.network_policy(), ISSUER_LIMITS, trust=settings.egress_trust()) as egress:
        yield Identity(keys, people, Tokens(_trusted(issuers, fetching(egress))))


def _trusted(issuers: Iterable[Issuer], fetch: FetchJson) -> dict[str, Trusted]:
    return {issuer.issuer: Trusted(issuer, _signing_keys(issuer, fetch)) for issuer in issuers}


def _signing_keys(issuer: Issuer, fetch: FetchJson) -> SecretKey | PublishedKeys:
    return SecretKey(issuer.read_secret()) if issuer.secret_file is not None else PublishedKeys(issuer, fetch)
