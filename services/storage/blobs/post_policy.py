"""Forms that a browser posts a file into a bucket with: POST policies signed by SigV4.

Source: Amazon S3 API reference, "Authenticating requests: browser-based uploads using POST".
"""

import hashlib
import hmac
import json
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from services.storage.blobs.blobs import Form, FormTerms
from services.storage.domain import OCTET_STREAM, attachment

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who signs. `session_token` belongs to temporary ones."""

    access_key_id: str
    secret_access_key: str
    session_token: str = ""


@dataclass(frozen=True, slots=True)
class PostTarget:
    """A bucket and how clients reach it; an empty endpoint means the region's own."""

    bucket: str
    region: str
    endpoint: str

    @property
    def url(self) -> str:
        """Where forms are posted."""
        if self.endpoint:
            return f"{self.endpoint.rstrip('/')}/{self.bucket}"
        return f"https://{self.bucket}.s3.{self.region}.amazonaws.com/"


def post_form(target: PostTarget, credentials: Credentials, name: str, terms: FormTerms, now: datetime) -> Form:
    """A form for one object of this name."""
    scope = f"{now:%Y%m%d}/{target.region}/s3/aws4_request"
    fields = {
        "key": name,
        "Content-Type": terms.content_type or OCTET_STREAM,
        "Content-Disposition": attachment(terms.filename),
        "x-amz-algorithm": _ALGORITHM,
        "x-amz-credential": f"{credentials.access_key_id}/{scope}",
        "x-amz-date": now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ"),
    }
    if credentials.session_token:
        fields["x-amz-security-token"] = credentials.session_token
    policy = encode_policy({"bucket": target.bucket, **fields}, terms)
    signature = sign_policy(credentials.secret_access_key, scope, policy)
    return Form(target.url, {**fields, "policy": policy, "x-amz-signature": signature}, terms.expire_time)


def encode_policy(fields: dict[str, str], terms: FormTerms) -> str:
    """The policy that allows these fields and so many bytes, in base64."""
    conditions: list[Any] = [{name: value} for name, value in fields.items() if terms.content_type or name != "Content-Type"]
    if not terms.content_type:
        conditions.append(["starts-with", "$Content-Type", ""])
    conditions.append(["content-length-range", terms.min_size_bytes, terms.max_size_bytes])
    expiration = terms.expire_time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return b64encode(json.dumps({"expiration": expiration, "conditions": conditions}).encode()).decode()


def sign_policy(secret: str, scope: str, policy: str) -> str:
    """SigV4 over the encoded policy."""
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    return hmac.digest(key, policy.encode(), hashlib.sha256).hex()
