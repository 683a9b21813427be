"""Forms that the data plane takes: the shape of a bucket's, signed with the key of its URLs."""

import json
import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from services.storage.blobs.blobs import Form, FormTerms
from services.storage.blobs.post_policy import encode_policy
from services.storage.domain import OCTET_STREAM, InvalidSignature
from services.storage.signing import UrlSigner

PATH = "/forms"
_SCHEME = "steno-upload-form-1"
_ALGORITHM = "STENO1-HMAC-SHA256"
_SIGNATURE = "x-steno-signature"
_KEY = re.compile(r"media/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


@dataclass(frozen=True, slots=True)
class Admission:
    """What a signed form lets in: bytes of one media, from so many to so many."""

    media_id: str
    min_size_bytes: int
    max_size_bytes: int


def sign_form(signer: UrlSigner, media_id: str, terms: FormTerms, now: datetime) -> Form:
    """A form for the bytes of one media; its time is cut to whole seconds."""
    fields = {
        "key": f"media/{media_id}",
        "Content-Type": terms.content_type or OCTET_STREAM,
        "x-steno-algorithm": _ALGORITHM,
        "x-steno-credential": f"steno/{now:%Y%m%d}/storage",
        "x-steno-date": now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ"),
    }
    policy = encode_policy(fields, terms)
    return Form(signer.base_url + PATH, {**fields, "policy": policy, _SIGNATURE: signer.mark(_SCHEME, policy)}, terms.expire_time)


def admit(signer: UrlSigner, fields: Mapping[str, str], now: datetime) -> Admission:
    """What a sent form lets in. Names of fields are lower-case. Raises InvalidSignature, always the same."""
    policy = fields.get("policy", "")
    if not signer.is_mark(_SCHEME, policy, fields.get(_SIGNATURE, "")):
        raise InvalidSignature
    terms = _read(policy)
    if datetime.fromisoformat(terms["expiration"]) <= now:
        raise InvalidSignature
    given = {name: value for name, value in fields.items() if name not in ("policy", _SIGNATURE)}
    sizes = (0, 0)
    for condition in terms["conditions"]:
        match condition:
            case ["content-length-range", int() as least, int() as most]:
                sizes = least, most
            case ["starts-with", str() as name, str() as start]:
                _require(given.pop(name.removeprefix("$").lower(), start).startswith(start))
            case dict():
                [(name, value)] = condition.items()
                _require(given.pop(name.lower(), None) == value)
    key = _KEY.fullmatch(fields.get("key", ""))
    # As S3 does: a field that the policy does not speak of is refused.
    if key is None or given:
        raise InvalidSignature
    return Admission(key[1], *sizes)


def _read(policy: str) -> dict[str, Any]:
    """Only what was signed here is read."""
    try:
        terms: dict[str, Any] = json.loads(b64decode(policy, validate=True))
    except (Base64Error, ValueError) as error:
        raise InvalidSignature from error
    return terms


def _require(kept: bool) -> None:
    if not kept:
        raise InvalidSignature
