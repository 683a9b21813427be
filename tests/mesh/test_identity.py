"""A caller token proves one caller to one service for a minute, and nothing else."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from joserfc.jwk import OKPKey

from faults.corpora.caller_tokens import FORGED, forge, sound_claims
from services.mesh.errors import InsufficientScope, InvalidCallerToken, MissingCredentials
from services.mesh.identity import (
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


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> OKPKey:
    """The mesh's key."""
    path = tmp_path_factory.mktemp("key") / "identity.pem"
    write_new_key(path)
    return load_key(path)


def test_verified_caller_is_the_minted_one(key: OKPKey) -> None:
    token = TokenSigner(key, "gateway").mint(CALLER, "jobs")
    assert TokenVerifier(key, "jobs").verify(token) == CALLER


def test_token_of_a_wrong_clock_is_not_used_again_when_the_clock_is_right(key: OKPKey, monkeypatch: pytest.MonkeyPatch) -> None:
    right = time.time()
    for wrong in (right + 86_400, right - 86_400):
        signer = TokenSigner(key, "gateway")
        with monkeypatch.context() as before_the_step:
            before_the_step.setattr(time, "time", lambda wrong=wrong: wrong)
            signer.mint(CALLER, "jobs")
        assert TokenVerifier(key, "jobs").verify(signer.mint(CALLER, "jobs")) == CALLER


def test_token_for_another_service_is_refused(key: OKPKey) -> None:
    token = TokenSigner(key, "gateway").mint(CALLER, "jobs")
    with pytest.raises(InvalidCallerToken):
        TokenVerifier(key, "billing").verify(token)


def test_sound_forgery_by_the_same_key_is_accepted_so_that_the_others_fail_for_their_reason(key: OKPKey) -> None:
    assert TokenVerifier(key, "jobs").verify(forge(key, sound_claims())).workspace_id == "w"


@pytest.mark.parametrize("name", FORGED)
def test_forged_token_is_refused(name: str, key: OKPKey) -> None:
    with pytest.raises(InvalidCallerToken):
        TokenVerifier(key, "jobs").verify(FORGED[name](key))


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
