"""Caller tokens that prove nothing, each for one reason: what services show each other, forged by somebody inside the network."""

import base64
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from joserfc import jws
from joserfc.jwk import OKPKey

from services.mesh.identity import ALGORITHM, TOKEN_TYPE, Caller, CallerKind, TokenSigner

AUDIENCE = "jobs"
_CALLER = Caller(CallerKind.KEY, "gateway", "w", "workspace")


def sound_claims(**changes: object) -> dict[str, object]:
    """Claims of a good token, changed."""
    seconds = int(time.time())
    sound = {"iss": "gateway", "aud": AUDIENCE, "kind": "key", "workspace_id": "w", "owner": "workspace", "key_id": "", "scopes": []}
    return {**sound, "iat": seconds, "exp": seconds + 60, **changes}


def forge(key: OKPKey, claims: object, **header: str) -> str:
    """A token that says what it likes, signed."""
    allowed = [header.get("alg", ALGORITHM)]
    return jws.serialize_compact({"alg": ALGORITHM, "typ": TOKEN_TYPE, **header}, json.dumps(claims), key, algorithms=allowed)


def _by_public_key(key: OKPKey) -> str:
    """HS256 with the verifier's public key as the secret; joserfc itself refuses to make one."""
    public = key.as_pem(private=False)
    signed = ".".join(_encoded(part) for part in ({"alg": "HS256", "typ": TOKEN_TYPE}, sound_claims()))
    return f"{signed}.{base64.urlsafe_b64encode(hmac.digest(bytes(public), signed.encode(), 'sha256')).rstrip(b'=').decode()}"


def _changed(key: OKPKey, **changes: object) -> str:
    """A good token whose claims were changed afterwards."""
    head, body, signature = TokenSigner(key, "gateway").mint(_CALLER, AUDIENCE).split(".")
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=="))
    return f"{head}.{_encoded({**claims, **changes})}.{signature}"


def _encoded(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def _without(*names: str) -> dict[str, object]:
    return {name: value for name, value in sound_claims().items() if name not in names}


def _ago(seconds: float) -> int:
    return int(time.time() - seconds)


FORGED: Mapping[str, Callable[[OKPKey], str]] = {
    "empty": lambda key: "",
    "no token": lambda key: "a.b.c",
    "not ASCII": lambda key: "ü.ü.ü",
    "unsigned": lambda key: f"{_encoded({'alg': 'none'})}.{_encoded(sound_claims())}.",
    "unsigned, typed": lambda key: f"{_encoded({'alg': 'none', 'typ': TOKEN_TYPE})}.{_encoded(sound_claims())}.",
    "signature left out": lambda key: forge(key, sound_claims()).rpartition(".")[0] + ".",
    "signature cut": lambda key: forge(key, sound_claims())[:-4],
    "another key": lambda key: forge(OKPKey.generate_key("Ed25519"), sound_claims()),
    "the public key as a secret": _by_public_key,
    "another class": lambda key: forge(key, sound_claims(), typ="JWT"),
    "no class": lambda key: jws.serialize_compact({"alg": ALGORITHM}, json.dumps(sound_claims()), key, algorithms=[ALGORITHM]),
    "workspace changed": lambda key: _changed(key, workspace_id="w2"),
    "kind changed": lambda key: _changed(key, kind="operator"),
    "made to last": lambda key: _changed(key, exp=_ago(-3600)),
    "for another service": lambda key: forge(key, sound_claims(aud="none of the mesh")),
    "for all services": lambda key: forge(key, sound_claims(aud=[AUDIENCE])),
    "ended": lambda key: forge(key, sound_claims(exp=_ago(60), iat=_ago(120))),
    "from the future": lambda key: forge(key, sound_claims(iat=_ago(-600), exp=_ago(-660))),
    "for a day": lambda key: forge(key, sound_claims(exp=_ago(-86_400))),
    "for ever": lambda key: forge(key, sound_claims(exp=10**30)),
    "end in words": lambda key: forge(key, sound_claims(exp="soon")),
    "end with a fraction": lambda key: forge(key, sound_claims(exp=time.time() + 30.5)),
    "of a kind that is none": lambda key: forge(key, sound_claims(kind="root")),
    "scopes in a word": lambda key: forge(key, sound_claims(scopes="all")),
    "more fields": lambda key: forge(key, sound_claims(extra="field")),
    "without an end": lambda key: forge(key, _without("exp")),
    "without a workspace": lambda key: forge(key, _without("workspace_id")),
    "a list": lambda key: forge(key, []),
    "a word": lambda key: forge(key, "text"),
}
