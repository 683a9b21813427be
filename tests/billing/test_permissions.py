"""Who may manage keys, and which scopes a key may get."""

import pytest

from services.billing.usecases.permissions import check_manages_keys, is_guest_without_wallet, payer_of, scopes_to_give
from services.mesh.errors import AccessDenied, InsufficientScope, InvalidField
from services.mesh.identity import Caller, CallerKind


def _caller(*scopes: str, kind: CallerKind = CallerKind.KEY, owner: str = "workspace", wallet_id: str = "") -> Caller:
    return Caller(kind, "gateway", "w", owner, scopes=scopes, wallet_id=wallet_id)


def test_whole_workspaces_manage_keys_and_their_users_and_guests_do_not() -> None:
    for caller in (_caller(), _caller("admin"), _caller(kind=CallerKind.USER), _caller(kind=CallerKind.OPERATOR, owner="")):
        assert check_manages_keys(caller) is caller
    users_and_guests = [
        _caller(kind=CallerKind.USER, owner="user:1"),
        _caller("admin", owner="user:1"),
        _caller(kind=CallerKind.GUEST, owner="guest:1"),
        _caller("admin", kind=CallerKind.GUEST, owner="guest:1"),
        _caller(owner=""),
    ]
    for caller in users_and_guests:
        with pytest.raises(AccessDenied):
            check_manages_keys(caller)


@pytest.mark.parametrize("scope", ["transcribe", "READ", "", "read ", "act_as"])
def test_only_the_four_scopes_are_scopes(scope: str) -> None:
    with pytest.raises(InvalidField) as refused:
        scopes_to_give(_caller(), ["read", scope])
    assert refused.value.metadata["field"] == "scopes"


def test_a_caller_with_scopes_gives_no_more_than_its_own() -> None:
    limited = _caller("admin", "read")
    assert scopes_to_give(limited, ["read"]) == ["read"]
    assert scopes_to_give(limited, ["read", "admin", "read"]) == ["admin", "read"]
    for asked in (["write"], ["read", "act_as_user"], []):
        with pytest.raises(InsufficientScope):
            scopes_to_give(limited, asked)


def test_a_caller_without_scopes_gives_any() -> None:
    for caller in (_caller(), _caller("read", kind=CallerKind.OPERATOR)):
        assert scopes_to_give(caller, []) == []
        assert scopes_to_give(caller, ["write", "act_as_user"]) == ["act_as_user", "write"]


def test_a_guest_without_a_wallet_sees_no_transfers() -> None:
    guest, buyer = _caller(owner="guest:key"), _caller(owner="guest:wallet", wallet_id="wallet")
    assert (is_guest_without_wallet(guest), is_guest_without_wallet(buyer)) == (True, False)
    with pytest.raises(AccessDenied):
        payer_of(guest)
    assert (payer_of(buyer), payer_of(_caller())) == ("wallet", "w")
