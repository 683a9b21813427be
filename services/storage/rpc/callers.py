"""Whose a call is."""

from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from services.mesh.errors import AccessDenied
from services.mesh.identity import CallerKind, current_caller
from services.storage.datasets import Owner

_SERVICE = "storage"
_GUEST = "guest:"


def workspace_of_call() -> str:
    """The caller's workspace. Raises AccessDenied for a service that acts for nobody, and for an app key by itself."""
    caller = current_caller()
    # Media has no owner within its workspace: of a guest's, the gateway and jobs know; here an id would open all.
    alone = caller.kind is CallerKind.GUEST and caller.service == _SERVICE
    if not caller.workspace_id or alone:
        raise AccessDenied
    return caller.workspace_id


def owner_of_call() -> Owner:
    """Whose datasets the call is about. Raises AccessDenied for a service that acts for nobody, and for anonymous guests."""
    caller = current_caller()
    anonymous = caller.owner.startswith(_GUEST) and not caller.wallet_id
    if not caller.workspace_id or not caller.owner or anonymous:
        raise AccessDenied
    return Owner(caller.workspace_id, caller.owner)


def lifetime_of(ttl: Duration) -> timedelta:
    """The same time, to a microsecond."""
    return timedelta(seconds=ttl.seconds, microseconds=ttl.nanos // 1000)
