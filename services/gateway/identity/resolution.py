"""From the headers of a request to the client that sent it."""

import asyncio
import re
from collections.abc import Iterable

from services.gateway.domain import Client, Reason, Refusal
from services.gateway.identity.emails import MAX_EMAIL_CHARACTERS, read_email
from services.gateway.identity.people import People
from services.gateway.identity.shown import Headers, Shown, read_shown
from services.gateway.identity.tokens import Proof, Tokens
from services.mesh.api_keys import ApiKeys, caller_of
from services.mesh.identity import Caller, CallerKind, Scope
from steno.billing.v1.accounts_service_pb2 import AuthenticateResponse
from steno.billing.v1.api_key_pb2 import ApiKey
from steno.billing.v1.workspace_pb2 import Plan

_SERVICE = "gateway"
_READS = frozenset({"GET", "HEAD"})
_USER_SCOPES = (Scope.READ.value, Scope.WRITE.value)
_GUEST_TOKEN = re.compile(rb"[\x21-\x7e]{1,256}")


class Identity:
    """Who is who: API keys, users by token or by name, guests with and without a wallet."""

    def __init__(self, keys: ApiKeys, people: People, tokens: Tokens) -> None:
        self._keys = keys
        self._people = people
        self._tokens = tokens

    async def keep_keys(self, stopping: asyncio.Event) -> None:
        """Keep the keys of issuers fresh until stopping, so that no request waits for them."""
        await self._tokens.keep_keys(stopping)

    async def resolve(self, request_method: str, headers: Headers) -> Client:
        """The client behind the headers of a request, as ASGI has them.

        Raises Refusal: MISSING_API_KEY, INVALID_API_KEY, INVALID_TOKEN, INVALID_GUEST_TOKEN, FORBIDDEN, BAD_REQUEST.
        Raises RemoteError: INVALID_API_KEY, INVALID_GUEST_TOKEN, or billing does not answer.
        """
        shown = read_shown(headers)
        writes = request_method not in _READS
        if shown.api_key:
            answer = await self._keys.resolve(shown.api_key)
            by_application = answer.api_key.kind == ApiKey.KIND_APP
            return await (self._of_application if by_application else self._of_workspace)(answer, shown, writes)
        if not shown.token:
            raise Refusal(Reason.MISSING_API_KEY)
        return await self._of_issuer(await self._tokens.verify(shown.token), shown, writes)

    async def _of_workspace(self, answer: AuthenticateResponse, shown: Shown, writes: bool) -> Client:
        """The key is the identity, unless it names the user it acts for."""
        email = _named_email(answer.api_key, shown, writes)
        if email:
            return await self._user(answer.api_key, email, shown)
        return _client(caller_of(answer, _SERVICE), answer.plan)

    async def _of_application(self, answer: AuthenticateResponse, shown: Shown, writes: bool) -> Client:
        """The strongest proof beside the key counts: a token, then a name given by a key that may, then a wallet."""
        key = answer.api_key
        if shown.token is not None:
            proof = await self._tokens.verify(shown.token)
            if proof.issuer.workspace_id not in ("", key.workspace_id):
                raise Refusal(Reason.INVALID_TOKEN)
            _check_named(proof.email, shown, writes)
            return await self._user(key, proof.email, shown)
        if email := _named_email(key, shown, writes):
            return await self._user(key, email, shown)
        return await self._guest(answer, shown)

    async def _of_issuer(self, proof: Proof, shown: Shown, writes: bool) -> Client:
        """A token alone, of an issuer that stands for a workspace."""
        _check_named(proof.email, shown, writes)
        issuer = proof.issuer
        if issuer.role is None:
            raise Refusal(Reason.INVALID_TOKEN)
        if issuer.role == "user":
            return await self._user(ApiKey(workspace_id=issuer.workspace_id), proof.email, shown)
        plan = (await self._people.plan(issuer.workspace_id)).plan
        caller = Caller(CallerKind.USER, _SERVICE, issuer.workspace_id, "workspace", claim_digest=shown.claim_digest)
        return _client(caller, plan, proof.email)

    async def _user(self, key: ApiKey, email: str, shown: Shown) -> Client:
        scopes = _user_scopes(key.scopes)
        answer = await self._people.user(key.workspace_id, email)
        return _client(
            Caller(
                CallerKind.USER,
                _SERVICE,
                key.workspace_id,
                f"user:{answer.user.id}",
                key.id,
                scopes,
                answer.user.id,
                shown.claim_digest,
            ),
            answer.plan,
            answer.user.email,
        )

    async def _guest(self, answer: AuthenticateResponse, shown: Shown) -> Client:
        """Nobody by name; the workspace pays, or the wallet of whoever bought credit."""
        key, plan, wallet_id = answer.api_key, answer.guest_plan, ""
        scopes = _user_scopes(key.scopes)
        if shown.guest_token:
            if not _GUEST_TOKEN.fullmatch(shown.guest_token):
                raise Refusal(Reason.INVALID_GUEST_TOKEN)
            found = await self._people.guest(key.workspace_id, shown.guest_token.decode("ascii"))
            plan, wallet_id = found.plan, found.wallet_id
        owner = f"guest:{wallet_id or key.id}"
        caller = Caller(CallerKind.GUEST, _SERVICE, key.workspace_id, owner, key.id, scopes, wallet_id, shown.claim_digest)
        return _client(caller, plan)


def _client(caller: Caller, plan: Plan, email: str | None = None) -> Client:
    return Client(caller, plan.tier, plan.tier_level, plan.retention_days, plan, email)


def _user_scopes(key_scopes: Iterable[str]) -> tuple[str, ...]:
    """What a user or guest of a key may do: what the key may, but never manage the workspace. Raises Refusal for nothing."""
    scopes = tuple(scope for scope in (tuple(key_scopes) or _USER_SCOPES) if scope in _USER_SCOPES)
    if not scopes:
        raise Refusal(Reason.FORBIDDEN)
    return scopes


def _named_email(key: ApiKey, shown: Shown, writes: bool) -> str:
    """Whom a key acts for by name; empty when it names nobody, or may not and only reads. Raises Refusal."""
    if not shown.email:
        return ""
    if Scope.ACT_AS_USER in key.scopes:
        email = read_email(shown.email.decode("latin-1"))
        if email is None:
            raise Refusal(Reason.BAD_REQUEST, f"X-User-Email is one e-mail address of at most {MAX_EMAIL_CHARACTERS} characters.")
        return email
    if writes:
        raise Refusal(Reason.FORBIDDEN)
    return ""


def _check_named(proven_email: str, shown: Shown, writes: bool) -> None:
    """Beside a proof a name grants nothing: no request writes in another one. Raises Refusal."""
    if writes and shown.email and read_email(shown.email.decode("latin-1")) != proven_email:
        raise Refusal(Reason.FORBIDDEN)
