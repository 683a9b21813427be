"""Errors as meanings: one class per meaning, subclassed by each service for its own sentences."""

import re

_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class MeshError(Exception):
    """The request could not be served."""

    def __init__(self, message: str | None = None, **metadata: str) -> None:
        self.message = message if message is not None else _sentence(type(self))
        self.metadata = metadata
        super().__init__(self.message)

    @classmethod
    def reason(cls) -> str:
        """The class's name as UPPER_SNAKE: the value of ErrorReason without its prefix."""
        return _WORD_START.sub("_", cls.__name__).upper()


def _sentence(error: type[MeshError]) -> str:
    return (error.__doc__ or error.__name__).strip().splitlines()[0]


class InvalidArgument(MeshError):
    """The request is malformed whatever the state of the system."""


class NotFound(MeshError):
    """What was asked for is not there for this caller."""


class AlreadyExists(MeshError):
    """What was to be made exists already."""


class FailedPrecondition(MeshError):
    """The system is not in the state that the request needs."""


class Aborted(MeshError):
    """Another actor was faster; read again before trying again."""


class ResourceExhausted(MeshError):
    """A quota, a credit or a store has no room."""


class PermissionDenied(MeshError):
    """The caller is known and may not do this."""


class Unauthenticated(MeshError):
    """The caller is not known."""


class Unavailable(MeshError):
    """Try again later; nothing is known to have happened."""


class Internal(MeshError):
    """Steno failed; the fault is logged where it happened."""


class MissingCredentials(Unauthenticated):
    """The call carries neither a caller token nor an API key."""


class InvalidCallerToken(Unauthenticated):
    """The caller token is not valid here."""


class InvalidApiKey(Unauthenticated):
    """The API key is unknown, revoked or expired."""


class CertificateRefused(Unauthenticated):
    """The caller's certificate names no part of this mesh."""


class ServiceNotAllowed(PermissionDenied):
    """The service of this certificate may not call this method."""


class AccessDenied(PermissionDenied):
    """This caller may not call this method."""


class InsufficientScope(PermissionDenied):
    """The scopes of this key do not allow that."""


class ServiceUnavailable(Unavailable):
    """A service that this request needs did not answer."""


class InvalidField(InvalidArgument):
    """A field is missing or out of range."""


class InvalidUrl(InvalidArgument):
    """The URL is not one that Steno may be sent to."""


class FetchBlocked(PermissionDenied):
    """The URL leads to a place that Steno does not fetch from."""


class FetchFailed(FailedPrecondition):
    """The URL could not be fetched."""


class InvalidPageToken(InvalidArgument):
    """The page token was not made by this service."""


class Overloaded(ResourceExhausted):
    """More work is in hand than this service takes on; retry later."""
