"""Tokens that prove nothing, each for one reason, made from a good one."""

import base64
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.jwk import Key

from tests.oidc import OidcIssuer, encode, new_key, secret_key, sign

WRONG_SECRET = b"not the secret of anybody, but as long"


@dataclass(frozen=True)
class Sources:
    """What a forger may have: the trusted issuer's tokens, an issuer of its own, an issuer by secret, the mesh's form."""

    issuer: OidcIssuer
    stranger: OidcIssuer
    secret_issuer: str
    secret: bytes

    @property
    def key(self) -> Key:
        """The trusted issuer's private key, for tokens that only the trusted issuer could make and that are still wrong."""
        return list(self.issuer.keys.values())[-1]

    @property
    def header(self) -> dict[str, Any]:
        """The header of its good tokens."""
        return {"alg": "RS256", "typ": "JWT", "kid": list(self.issuer.keys)[-1]}

    def signed(self, claims: bytes | Mapping[str, Any], header: bytes | Mapping[str, Any] | None = None) -> str:
        """Really signed by the trusted issuer, whatever it says."""
        return sign(self.header if header is None else header, claims, self.key, "RS256")

    def by_secret(self, algorithm: str = "HS256", secret: bytes | None = None, **changes: Any) -> str:
        """A token in the name of the issuer by secret."""
        claims = self.issuer.claims(**{"iss": self.secret_issuer, **changes})
        return sign({"alg": algorithm, "typ": "JWT"}, claims, secret_key(secret or self.secret), algorithm)


def _public_pem(key: Key) -> bytes:
    return bytes(key.as_pem(private=False))  # type: ignore[union-attr]


def _confused(sources: Sources, secret: bytes) -> str:
    head, claims, _ = _unsigned(sources, "HS256").split(".")
    return f"{head}.{claims}.{encode(hmac.digest(secret, f'{head}.{claims}'.encode(), 'sha256'))}"


def _unsigned(sources: Sources, algorithm: str, signature: str = "") -> str:
    header, claims = {**sources.header, "alg": algorithm}, sources.issuer.claims()
    return f"{encode(json.dumps(header).encode())}.{encode(json.dumps(claims).encode())}.{signature}"


def _changed(sources: Sources, **changes: Any) -> str:
    """The claims changed after signing."""
    head, _, signature = sources.issuer.mint().split(".")
    return f"{head}.{encode(json.dumps(sources.issuer.claims(**changes)).encode())}.{signature}"


def _with_member(sources: Sources, member: str) -> str:
    """The good claims with one more member, written out."""
    return sources.signed((json.dumps(sources.issuer.claims())[:-1] + f", {member}}}").encode())


def _own_key_in_header(sources: Sources) -> str:
    own = new_key("RS256", "own")
    return sign({**sources.header, "jwk": own.as_dict(private=False)}, sources.issuer.claims(), own, "RS256")


def _in(seconds: float) -> int:
    return int(time.time() + seconds)


FORGED: dict[str, Callable[[Sources], str]] = {
    # Nothing that is a token.
    "empty": lambda s: "",
    "word": lambda s: "undefined",
    "dots": lambda s: "..",
    "two parts": lambda s: s.issuer.mint().rpartition(".")[0],
    "four parts": lambda s: s.issuer.mint() + ".AAAA",
    "five parts, encrypted": lambda s: ".".join(["AAAA"] * 5),
    "padding": lambda s: s.issuer.mint() + "=",
    "standard base64": lambda s: "+/" + s.issuer.mint()[2:],
    "header is no JSON": lambda s: s.signed(s.issuer.claims(), b"{"),
    "header is a list": lambda s: s.signed(s.issuer.claims(), b"[]"),
    "header is not UTF-8": lambda s: s.signed(s.issuer.claims(), b'{"alg":"RS256","kid":"\xff"}'),
    "claims are no JSON": lambda s: s.signed(b"claims"),
    "claims are a list": lambda s: s.signed(b"[]"),
    "claims are null": lambda s: s.signed(b"null"),
    "claims are not UTF-8": lambda s: s.signed(b'{"iss":"\xff\xfe"}'),
    "claims nested deeply": lambda s: s.signed(b'{"a":' + b"[" * 2500 + b"]" * 2500 + b"}"),
    "200 KB": lambda s: s.issuer.mint(note="x" * 200_000),
    "just over 8 KiB": lambda s: s.issuer.mint(note="x" * 8000),
    "two tokens": lambda s: f"{s.issuer.mint()}, {s.issuer.mint()}",
    "a blank inside": lambda s: s.issuer.mint().replace(".", ". ", 1),
    # Algorithms.
    "alg none": lambda s: _unsigned(s, "none"),
    "alg None": lambda s: _unsigned(s, "None"),
    "alg nOnE": lambda s: _unsigned(s, "nOnE", "AAAA"),
    "alg none with signature": lambda s: _unsigned(s, "none", "AAAA"),
    "alg empty": lambda s: _unsigned(s, "", "AAAA"),
    "alg missing": lambda s: s.signed(s.issuer.claims(), {"typ": "JWT", "kid": s.header["kid"]}),
    "alg a number": lambda s: s.signed(s.issuer.claims(), {**s.header, "alg": 256}),
    "alg a list": lambda s: s.signed(s.issuer.claims(), {**s.header, "alg": ["RS256"]}),
    "alg lower case": lambda s: s.signed(s.issuer.claims(), {**s.header, "alg": "rs256"}),
    "HS256 with the public key as PEM": lambda s: _confused(s, _public_pem(s.key)),
    "HS256 with the public key as PEM, stripped": lambda s: _confused(s, _public_pem(s.key).strip()),
    "HS256 with the modulus": lambda s: _confused(s, str(s.key.as_dict(private=False)["n"]).encode()),
    "HS256 with the decoded modulus": lambda s: _confused(s, base64.urlsafe_b64decode(str(s.key.as_dict(private=False)["n"]) + "==")),
    "HS256 with a secret of one zero": lambda s: _confused(s, b"\0"),
    "RS512 of the right key": lambda s: sign({**s.header, "alg": "RS512"}, s.issuer.claims(), s.key, "RS512"),
    "PS256 of the right key": lambda s: sign({**s.header, "alg": "PS256"}, s.issuer.claims(), s.key, "PS256"),
    "says RS256, signed PS256": lambda s: sign(s.header, s.issuer.claims(), s.key, "PS256"),
    "says ES256 for an RSA key": lambda s: s.signed(s.issuer.claims(), {**s.header, "alg": "ES256"}),
    "secret issuer with RS256": lambda s: s.signed(s.issuer.claims(iss=s.secret_issuer)),
    "secret issuer with HS384": lambda s: s.by_secret("HS384"),
    "secret issuer with HS512": lambda s: s.by_secret("HS512"),
    "secret issuer, another secret": lambda s: s.by_secret(secret=WRONG_SECRET),
    "secret issuer, the secret cut": lambda s: s.by_secret(secret=s.secret[:-1]),
    "secret issuer, expired": lambda s: s.by_secret(exp=_in(-120), iat=_in(-3600)),
    "key issuer with the other's secret": lambda s: s.by_secret(iss=s.issuer.url),
    # Keys.
    "kid missing": lambda s: s.issuer.mint({"kid": None}),
    "kid empty": lambda s: s.issuer.mint({"kid": ""}),
    "kid unknown": lambda s: s.issuer.mint({"kid": "another"}),
    "kid a path": lambda s: s.issuer.mint({"kid": "../../../../dev/null"}),
    "kid SQL": lambda s: s.issuer.mint({"kid": "' OR 1=1 --"}),
    "kid a URL": lambda s: s.issuer.mint({"kid": s.stranger.keys_url}),
    "kid a number": lambda s: s.issuer.mint({"kid": 1}),
    "kid null": lambda s: s.signed(s.issuer.claims(), {**s.header, "kid": None}),
    "kid of 4 KB": lambda s: s.issuer.mint({"kid": "k" * 4000}),
    "a stranger's key under the right kid": lambda s: sign(s.header, s.issuer.claims(), new_key("RS256", "x"), "RS256"),
    "a stranger's token with our names": lambda s: s.stranger.mint(iss=s.issuer.url),
    "jku": lambda s: s.stranger.mint({"jku": s.stranger.keys_url}, iss=s.issuer.url),
    "jku, rightly signed": lambda s: s.issuer.mint({"jku": s.issuer.keys_url}),
    "x5u": lambda s: s.stranger.mint({"x5u": s.stranger.keys_url}, iss=s.issuer.url),
    "x5c, rightly signed": lambda s: s.issuer.mint({"x5c": ["MIIB"]}),
    "jwk": _own_key_in_header,
    "crit": lambda s: s.issuer.mint({"crit": ["exp"]}),
    "crit empty": lambda s: s.issuer.mint({"crit": []}),
    "crit unknown": lambda s: s.issuer.mint({"crit": ["http://example.com/x"], "http://example.com/x": True}),
    "b64 false": lambda s: s.issuer.mint({"b64": False, "crit": ["b64"]}),
    "header name twice": lambda s: s.signed(s.issuer.claims(), json.dumps(s.header)[:-1].encode() + b', "alg": "RS256"}'),
    # Classes of tokens.
    "typ of the mesh": lambda s: s.issuer.mint({"typ": "steno-caller+jwt"}),
    "typ of logout": lambda s: s.issuer.mint({"typ": "logout+jwt"}),
    "typ of events": lambda s: s.issuer.mint({"typ": "secevent+jwt"}),
    "typ of DPoP": lambda s: s.issuer.mint({"typ": "dpop+jwt"}),
    "typ a number": lambda s: s.issuer.mint({"typ": 1}),
    # Signatures.
    "signature cut": lambda s: s.issuer.mint()[:-4],
    "signature of zeros": lambda s: s.issuer.mint().rpartition(".")[0] + "." + encode(bytes(256)),
    "signature empty": lambda s: s.issuer.mint().rpartition(".")[0] + ".",
    "another's claims": lambda s: _changed(s, sub="mallory"),
    "another's e-mail": lambda s: _changed(s, email="root@example.com"),
    "a later end": lambda s: _changed(s, exp=_in(7200)),
    # Issuer and audience.
    "iss missing": lambda s: s.issuer.mint(iss=None),
    "iss another": lambda s: s.stranger.mint(),
    "iss with a slash": lambda s: s.issuer.mint(iss=s.issuer.url + "/"),
    "iss cut": lambda s: s.issuer.mint(iss=s.issuer.url[:-1]),
    "iss extended": lambda s: s.issuer.mint(iss=s.issuer.url + ".example.com"),
    "iss in capitals": lambda s: s.issuer.mint(iss=s.issuer.url.upper()),
    "iss a list": lambda s: s.issuer.mint(iss=[s.issuer.url]),
    "iss an object": lambda s: s.issuer.mint(iss={}),
    "aud missing": lambda s: s.issuer.mint(aud=None),
    "aud another project": lambda s: s.issuer.mint(aud="other-project"),
    "aud empty": lambda s: s.issuer.mint(aud=""),
    "aud an empty list": lambda s: s.issuer.mint(aud=[]),
    "aud a prefix": lambda s: s.issuer.mint(aud="sten"),
    "aud with a foreign one": lambda s: s.issuer.mint(aud=["steno", "other-project"]),
    "aud with a number": lambda s: s.issuer.mint(aud=["steno", 1]),
    "aud an object": lambda s: s.issuer.mint(aud={"steno": True}),
    # Times.
    "exp missing": lambda s: s.issuer.mint(exp=None),
    "nbf null": lambda s: _with_member(s, '"nbf": null'),
    "exp a string": lambda s: s.issuer.mint(exp=str(_in(600))),
    "exp a float": lambda s: s.issuer.mint(exp=_in(600) + 0.5),
    "exp true": lambda s: s.issuer.mint(exp=True),
    "exp NaN": lambda s: s.issuer.mint(exp=float("nan")),
    "exp infinite": lambda s: s.issuer.mint(exp=float("inf")),
    "exp 10^30": lambda s: s.issuer.mint(exp=10**30),
    "exp of 5,000 digits": lambda s: s.signed(json.dumps(s.issuer.claims(exp=0)).replace('"exp": 0', f'"exp": {"9" * 5000}').encode()),
    "exp negative": lambda s: s.issuer.mint(exp=-1),
    "expired 120 s ago": lambda s: s.issuer.mint(exp=_in(-120), iat=_in(-3600)),
    "valid for 25 hours": lambda s: s.issuer.mint(exp=_in(25 * 3600)),
    "issued long ago, valid until tomorrow": lambda s: s.issuer.mint(iat=0),
    "ends before it was issued": lambda s: s.issuer.mint(exp=_in(10), iat=_in(40)),
    "iat missing": lambda s: s.issuer.mint(iat=None),
    "iat a string": lambda s: s.issuer.mint(iat=str(_in(0))),
    "issued in 120 s": lambda s: s.issuer.mint(iat=_in(120)),
    "starts in 120 s": lambda s: s.issuer.mint(nbf=_in(120)),
    "nbf a string": lambda s: s.issuer.mint(nbf="0"),
    # Who it is about.
    "sub missing": lambda s: s.issuer.mint(sub=None),
    "sub empty": lambda s: s.issuer.mint(sub=""),
    "sub a number": lambda s: s.issuer.mint(sub=7),
    "sub of 1 KB": lambda s: s.issuer.mint(sub="s" * 1000),
    "e-mail missing": lambda s: s.issuer.mint(email=None),
    "e-mail empty": lambda s: s.issuer.mint(email=""),
    "e-mail a list": lambda s: s.issuer.mint(email=["ada@example.com"]),
    "e-mail without host": lambda s: s.issuer.mint(email="ada@"),
    "two e-mails": lambda s: s.issuer.mint(email="ada@example.com,root@example.com"),
    "e-mail with a look-alike": lambda s: s.issuer.mint(email="mi\u212ae@example.com"),
    "e-mail with a line break": lambda s: s.issuer.mint(email="ada@example.com\n"),
    "e-mail of 300 characters": lambda s: s.issuer.mint(email="a@" + "b" * 60 + ".c" * 120),
    "e-mail not verified": lambda s: s.issuer.mint(email_verified=False),
    "e-mail verified by word": lambda s: s.issuer.mint(email_verified="true"),
    "e-mail verified by number": lambda s: s.issuer.mint(email_verified=1),
    "e-mail verified missing": lambda s: s.issuer.mint(email_verified=None),
    "claim twice": lambda s: _with_member(s, '"email": "root@example.com"'),
    "issuer twice": lambda s: _with_member(s, f'"iss": "{s.issuer.url}"'),
}
