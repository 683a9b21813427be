"""Whether what should be secret can be: files that others may read, keys too short to be keys, words out of examples."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from services.mesh.identity import load_key
from services.mesh.settings import ServiceSettings
from services.mesh.weaknesses import SecretFile, Weakness, marked, variable_name

# Random bytes or hexadecimal of the length of a key have more; a word written again and again has not.
_LEAST_DIFFERENT_BYTES = 8
_KEY_BYTES = 32
_OPEN_TO_ALL = 0o007
_EXAMPLES = frozenset(
    {"admin", "change-me", "changeme", "example", "minioadmin", "pass", "password", "postgres", "s3cr3t", "secret", "steno", "test"}
)


def secrecy_weaknesses(settings: ServiceSettings) -> Iterator[Weakness]:
    """Every secret of a service that is none."""
    yield from _of_identity_key(settings)
    for name, mark, path in marked(settings, SecretFile):
        if path is not None:
            yield from _of_file(name, path, mark)
    yield from _examples(settings)


def _of_identity_key(settings: ServiceSettings) -> Iterator[Weakness]:
    path = settings.identity_key_file
    try:
        load_key(path)
    except OSError:
        return
    except ValueError:
        name = variable_name(settings, "identity_key_file")
        yield Weakness(f"{name}: {path} is no Ed25519 private key in PEM; make one: openssl genpkey -algorithm ed25519 -out {path}")


def _of_file(name: str, path: Path, mark: SecretFile) -> Iterator[Weakness]:
    try:
        content, mode = path.read_bytes(), path.stat().st_mode
    except OSError as error:
        yield Weakness(f"{name}: {path} cannot be read: {error.strerror}; write it, for the service's user alone")
        return
    if mode & _OPEN_TO_ALL:
        yield Weakness(f"{name}: {path} is open to every user; chmod 600 (in Kubernetes defaultMode 0440 with an fsGroup)")
    secrets = [line.strip() for line in content.splitlines() if line.strip()] if mark.each_line else [content.strip()]
    if any(len(secret) < mark.least_bytes for secret in secrets or [b""]):
        yield Weakness(f"{name}: {path} has fewer than {mark.least_bytes} bytes; write another: openssl rand -hex 32")
    elif any(mark.least_bytes >= _KEY_BYTES and len(set(secret)) < _LEAST_DIFFERENT_BYTES for secret in secrets):
        yield Weakness(f"{name}: {path} is not random; write another: openssl rand -hex 32")


def _examples(settings: ServiceSettings) -> Iterator[Weakness]:
    for field in type(settings).model_fields:
        value = getattr(settings, field)
        secret = value.get_secret_value() if isinstance(value, SecretStr) else _password(value)
        if secret.lower() in _EXAMPLES:
            yield Weakness(f"{variable_name(settings, field)} has a password out of an example; give it one of its own")


def _password(value: object) -> str:
    return unquote(urlsplit(value).password or "") if isinstance(value, str) and "://" in value else ""
