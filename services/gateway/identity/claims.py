"""What the claims of a token must say."""

from typing import Any

from services.gateway.identity.compact import TokenRefused
from services.gateway.identity.emails import read_email
from services.gateway.identity.issuers import Issuer

SKEW_SECONDS = 60
MAX_LIFETIME_SECONDS = 24 * 3600
_MAX_SUBJECT_CHARACTERS = 255


def check_claims(claims: dict[str, Any], issuer: Issuer, now: float) -> str:
    """The proven e-mail address of a token whose signature holds; now: seconds since the epoch. Raises TokenRefused."""
    if claims.get("iss") != issuer.issuer:
        raise TokenRefused("another issuer")
    _check_audience(claims.get("aud"), issuer)
    _check_times(claims, now)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT_CHARACTERS:
        raise TokenRefused("no subject")
    return _proven_email(claims, issuer)


def _check_audience(audience: object, issuer: Issuer) -> None:
    named = [audience] if isinstance(audience, str) else audience
    if not isinstance(named, list) or not named or not all(isinstance(name, str) for name in named):
        raise TokenRefused("no audience")
    known = set(named) & set(issuer.audiences)
    if not known or (len(known) < len(set(named)) and not issuer.allow_other_audiences):
        raise TokenRefused("meant for another audience")


def _check_times(claims: dict[str, Any], now: float) -> None:
    expires, issued, starts = _time(claims.get("exp")), _time(claims.get("iat")), _time(claims.get("nbf", 0))
    if expires < now - SKEW_SECONDS:
        raise TokenRefused("expired")
    if max(issued, starts) > now + SKEW_SECONDS:
        raise TokenRefused("not valid yet")
    if not 0 <= expires - issued <= MAX_LIFETIME_SECONDS:
        raise TokenRefused("valid for more than 24 hours")


def _time(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TokenRefused("times that are not whole seconds")
    return value


def _proven_email(claims: dict[str, Any], issuer: Issuer) -> str:
    claimed = claims.get(issuer.email_claim)
    email = read_email(claimed) if isinstance(claimed, str) else None
    if email is None:
        raise TokenRefused("no e-mail address")
    if issuer.require_email_verified and claims.get("email_verified") is not True:
        raise TokenRefused("an e-mail address that is not verified")
    return email
