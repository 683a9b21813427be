"""Tokens of outside issuers, verified."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from services.gateway.domain import Reason, Refusal
from services.gateway.identity.claims import check_claims
from services.gateway.identity.compact import CompactToken, TokenRefused, parse_token
from services.gateway.identity.issuers import Issuer
from services.gateway.identity.signing_keys import PublishedKeys, SecretKey
from services.mesh.telemetry import get_logger


@dataclass(frozen=True, slots=True)
class Trusted:
    """An issuer with its keys."""

    issuer: Issuer
    keys: SecretKey | PublishedKeys


@dataclass(frozen=True, slots=True)
class Proof:
    """What a token proves."""

    issuer: Issuer
    email: str


class Tokens:
    """Verifies tokens against the issuers that the operator trusts. What a token says of its keys is never followed."""

    def __init__(self, trusted: Mapping[str, Trusted], clock: Callable[[], float] = time.time) -> None:
        self._trusted = trusted
        self._clock = clock
        self._logger = get_logger("gateway.identity")

    async def verify(self, token: bytes) -> Proof:
        """What it proves. Raises Refusal, the same one whatever is wrong."""
        try:
            return await self._verify(token)
        except TokenRefused as error:
            self._logger.info("token refused", why=str(error))
        raise Refusal(Reason.INVALID_TOKEN)

    async def keep_keys(self, stopping: asyncio.Event) -> None:
        """Keep the published keys of every issuer fresh until stopping."""
        async with asyncio.TaskGroup() as group:
            for trusted in self._trusted.values():
                if isinstance(trusted.keys, PublishedKeys):
                    group.create_task(trusted.keys.run(stopping), name=f"keys of {trusted.issuer.issuer}")

    async def _verify(self, text: bytes) -> Proof:
        token = parse_token(text)
        named = token.claims.get("iss")
        trusted = self._trusted.get(named) if isinstance(named, str) else None
        if trusted is None:
            raise TokenRefused("an issuer that is not trusted")
        if token.algorithm not in trusted.issuer.algorithms:
            raise TokenRefused("an algorithm that the issuer does not use")
        await _check_signature(token, trusted.keys)
        return Proof(trusted.issuer, check_claims(token.claims, trusted.issuer, self._clock()))


async def _check_signature(token: CompactToken, keys: SecretKey | PublishedKeys) -> None:
    key = await keys.find(token.key_id)
    if key is None:
        raise TokenRefused("a key that the issuer does not publish")
    # The algorithm is one of the issuer's own list. The registry's look-up would warn about the name EdDSA (RFC 9864).
    algorithm = JWSRegistry.algorithms[token.algorithm]
    try:
        algorithm.check_key(key)
        holds = algorithm.verify(token.signed, token.signature, key)
    except (JoseError, ValueError):
        holds = False
    if not holds:
        raise TokenRefused("a signature that does not hold")
