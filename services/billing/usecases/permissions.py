"""What a caller may do beyond what its method's scope says."""

from collections.abc import Collection

from services.mesh.errors import AccessDenied, InsufficientScope, InvalidField
from services.mesh.identity import Caller, CallerKind, Scope

WORKSPACE = "workspace"


def check_acts_for_workspace(caller: Caller) -> Caller:
    """The caller, if it acts for a workspace. Raises AccessDenied."""
    if not caller.workspace_id:
        raise AccessDenied("The call acts for no workspace.")
    return caller


def check_manages_keys(caller: Caller) -> Caller:
    """The caller, if it acts for a whole workspace. Raises AccessDenied for users and guests of an application."""
    if caller.kind is not CallerKind.OPERATOR and caller.owner != WORKSPACE:
        raise AccessDenied("This caller may not manage keys.")
    return caller


def scopes_to_give(caller: Caller, asked: Collection[str]) -> list[str]:
    """The scopes of a key that the caller makes, sorted. Raises InvalidField, InsufficientScope.

    A caller with scopes gives no more than its own, and says which: none would stand for all but one.
    """
    if unknown := sorted(set(asked) - {scope.value for scope in Scope}):
        raise InvalidField(f"{unknown[0][:40]!r} is not a scope.", field="scopes")
    if caller.scopes and caller.kind not in (CallerKind.SERVICE, CallerKind.OPERATOR):
        missing = sorted(set(asked) - set(caller.scopes))
        if missing or not asked:
            raise InsufficientScope("A key with scopes gives other keys no more than its own.", scope=missing[0] if missing else "")
    return sorted(set(asked))


def is_guest_without_wallet(caller: Caller) -> bool:
    """Whether all that is known of the caller is the application it uses: the workspace pays, the guests' plan limits."""
    return caller.owner.startswith("guest:") and not caller.wallet_id


def payer_of(caller: Caller) -> str:
    """The wallet of a caller who may look into it. Raises AccessDenied for a guest whom the workspace pays for."""
    if is_guest_without_wallet(caller):
        raise AccessDenied("A guest has no wallet to look into.")
    return caller.payer_id


def purse_of(caller: Caller) -> str:
    """As `payer_of`, but services may ask what the workspace of a guest has to pay with."""
    return caller.payer_id if caller.kind is CallerKind.SERVICE else payer_of(caller)
