"""Settings as they may be shown: whatever is secret as the beginning of its SHA-256, so that two machines can be compared."""

import hashlib
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from services.mesh.weaknesses import SecretFile

_SHOWN_DIGITS = 12
# With `user:password@`, and for NATS, where a name alone is a token, with `token@`.
_USER_INFORMATION = re.compile(r"^(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<user>[^/@:]*)(?P<password>:.*)?@")
_PARAMETER = re.compile(r"(?P<name>[?&](?:password|sslpassword)=)(?P<value>[^&]*)")
_TOKEN_SCHEMES = ("nats", "tls")


def shown(field: FieldInfo, value: Any) -> str:
    """A setting's value without what is secret in it. value: as read, or as the environment has it where it cannot be read."""
    if value in (None, ()):
        return ""
    if isinstance(value, SecretStr):
        return fingerprint(value.get_secret_value().encode()) if value.get_secret_value() else ""
    if field.annotation is SecretStr:
        return fingerprint(str(value).encode())
    if any(isinstance(mark, SecretFile) for mark in field.metadata):
        return f"{value} ({_of_file(Path(str(value)))})"
    return str(value).lower() if isinstance(value, bool) else without_passwords(str(value))


def without_passwords(text: str) -> str:
    """The text, with the passwords replaced where it is a URL, or several separated by commas."""
    parts = text.split(",") if all("://" in part for part in text.split(",")) else [text]
    plain = [_USER_INFORMATION.sub(_without_password, part) for part in parts]
    return ",".join(_PARAMETER.sub(lambda found: found["name"] + _replaced(found["value"]), part) for part in plain)


def fingerprint(secret: bytes) -> str:
    """The beginning of its SHA-256."""
    return f"sha256:{hashlib.sha256(secret).hexdigest()[:_SHOWN_DIGITS]}"


def _without_password(found: re.Match[str]) -> str:
    user, password = found["user"], found["password"]
    if password is None and user and found["scheme"] in _TOKEN_SCHEMES:
        user = _replaced(user)
    return f"{found['scheme']}://{user}{':' + _replaced(password[1:]) if password else ''}@"


def _replaced(secret: str) -> str:
    return quote(fingerprint(unquote(secret).encode()), safe=":")


def _of_file(path: Path) -> str:
    try:
        return fingerprint(path.read_bytes())
    except OSError as error:
        return f"cannot be read: {error.strerror}"
