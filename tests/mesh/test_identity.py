"""A caller token proves one caller to one service for a minute, and nothing else."""

import base64
import hmac
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from joserfc import jws
from joserfc.jwk import OKPKey

from services.mesh.errors import InsufficientScope, InvalidCallerToken, MissingCredentials
from services.mesh.identity import (
    ALGORITHM,
    TOKEN_TYPE,
    Caller,
    CallerKind,
    Scope,
    TokenSigner,
    TokenVerifier,
    acting_for,
    calling_as,
    current_caller,
    load_key,
    write_new_key,
)

CALLER = Caller(CallerKind.KEY, "gateway", "workspace-1", "workspace", "key-1", ("read", "write"), "wallet-1", "digest-1")
CLAIMS = {
    "iss": "gateway",
    "aud": "jobs",
    "kind": "key",
    "workspace_id": "w",
    "owner": "workspace",
    "key_id": "",
    "scopes": [],
}


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> OKPKey:
    """The mesh's key."""
    path = tmp_path_factory.mktemp("key") / "identity.pem"
    write_new_key(path)
    return load_key(path)


def forged(key: OKPKey, claims: object, **header: str) -> str:
    """A token that says what it likes."""
    allowed = [header.get("alg", ALGORITHM)]
    return jws.serialize_compact({"alg": ALGORITHM, "typ": TOKEN_TYPE, **header}, json.dumps(claims), key, algorithms=allowed)


def signed_with_public_key(public: bytes) -> str:
    """An HS256 token whose secret is the verifier's public key; joserfc itself refuses to make one."""
    signed = ".".join(encoded(part) for part in ({"alg": "HS256", "typ": TOKEN_TYPE}, now()))
    return f"{signed}.{base64.urlsafe_b64encode(hmac.digest(public, signed.encode(), 'sha256')).rstrip(b'=').decode()}"


def encoded(part: object) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def now(**changes: object) -> dict[str, object]:
    """Sound claims, changed."""
    seconds = int(time.time())
    return {**CLAIMS, "iat": seconds, "exp": seconds + 60, **changes}


def test_verified_caller_is_the_minted_one(key: OKPKey) -> None:
    token = TokenSigner(key, "gateway").mint(CALLER, "jobs")
    assert TokenVerifier(key, "jobs").verify(token) == CALLER


def test_token_for_another_service_is_refused(key: OKPKey) -> None:
    token = TokenSigner(key, "gateway").mint(CALLER, "jobs")
    with pytest.raises(InvalidCallerToken):
        TokenVerifier(key, "billing").verify(token)


def test_sound_forgery_by_the_same_key_is_accepted_so_that_the_others_fail_for_their_reason(key: OKPKey) -> None:
    assert TokenVerifier(key, "jobs").verify(forged(key, now())).workspace_id == "w"


@pytest.mark.parametrize(
    "claims",
    [
        now(exp=int(time.time()) - 60, iat=int(time.time()) - 120),
        now(iat=int(time.time()) + 600, exp=int(time.time()) + 660),
        now(exp=int(time.time()) + 86_400),
        now(exp=10**30),
        now(exp="soon"),
        now(exp=1.5),
        now(aud=["jobs"]),
        now(kind="root"),
        now(scopes="all"),
        now(extra="field"),
        {name: value for name, value in now().items() if name != "exp"},
        {name: value for name, value in now().items() if name != "workspace_id"},
        [],
        "text",
    ],
)
def test_token_with_wrong_claims_is_refused(claims: object, key: OKPKey) -> None:
    with pytest.raises(InvalidCallerToken):
        TokenVerifier(key, "jobs").verify(forged(key, claims))


def test_token_of_another_class_key_or_algorithm_is_refused(key: OKPKey) -> None:
    verifier = TokenVerifier(key, "jobs")
    public = key.as_pem(private=False)
    assert isinstance(public, bytes)
    unsigned = ".".join(encoded(part) for part in ({"alg": "none"}, now()))
    tokens = [
        forged(key, now(), typ="JWT"),
        forged(OKPKey.generate_key("Ed25519"), now()),
        signed_with_public_key(public),
        unsigned + ".",
        "",
        "a.b.c",
        "ü.ü.ü",
    ]
    for token in tokens:
        with pytest.raises(InvalidCallerToken):
            verifier.verify(token)


def test_changed_token_is_refused(key: OKPKey) -> None:
    head, body, signature = TokenSigner(key, "gateway").mint(CALLER, "jobs").split(".")
    changed = json.loads(base64.urlsafe_b64decode(body + "=="))
    changed["workspace_id"] = "workspace-2"
    with pytest.raises(InvalidCallerToken):
        TokenVerifier(key, "jobs").verify(f"{head}.{encoded(changed)}.{signature}")


def test_services_pass_callers_on_as_services_and_only_the_gateway_vouches_for_keys(key: OKPKey) -> None:
    assert TokenSigner(key, "gateway").outgoing(CALLER) == CALLER
    passed_on = TokenSigner(key, "jobs").outgoing(CALLER)
    assert (passed_on.kind, passed_on.service, passed_on.workspace_id) == (CallerKind.SERVICE, "jobs", "workspace-1")
    assert TokenSigner(key, "jobs").outgoing(None) == Caller(CallerKind.SERVICE, "jobs")
    assert TokenSigner(key, "operator").outgoing(None).kind is CallerKind.OPERATOR


def test_caller_in_hand_is_scoped() -> None:
    with pytest.raises(MissingCredentials):
        current_caller()
    with calling_as(CALLER):
        with acting_for("workspace-2"):
            assert current_caller().workspace_id == "workspace-2"
        assert current_caller() == CALLER


def test_key_file_is_its_owners_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "identity.pem"
    write_new_key(path)
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(FileExistsError):
        write_new_key(path)


LIMITED = Caller(CallerKind.KEY, "gateway", "w", "workspace", "k", ("read",))
UNLIMITED = Caller(CallerKind.KEY, "gateway", "w", "workspace", "k")


@pytest.mark.parametrize(
    ("caller", "allowed"),
    [
        (LIMITED, {Scope.READ}),
        (replace(LIMITED, scopes=("write", "act_as_user")), {Scope.WRITE, Scope.ACT_AS_USER}),
        (replace(LIMITED, kind=CallerKind.GUEST), {Scope.READ}),
        (replace(LIMITED, kind=CallerKind.SERVICE), set(Scope)),
        (replace(LIMITED, kind=CallerKind.OPERATOR), set(Scope)),
        (UNLIMITED, set(Scope) - {Scope.ACT_AS_USER}),
    ],
)
def test_scopes_limit_callers_and_acting_as_a_user_is_never_implied(caller: Caller, allowed: set[Scope]) -> None:
    for scope in Scope:
        if scope in allowed:
            caller.check_scope(scope)
        else:
            with pytest.raises(InsufficientScope):
                caller.check_scope(scope)


def test_a_wallet_pays_instead_of_the_workspace() -> None:
    assert UNLIMITED.payer_id == "w"
    assert replace(UNLIMITED, wallet_id="u").payer_id == "u"
