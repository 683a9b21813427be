"""What a service reads about its certificate."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings

from services.mesh.weaknesses import SecretFile

_FILES = ("tls_certificate_file", "tls_key_file", "tls_authority_file")


class TlsSettings(BaseSettings):
    """All three files or none; without them everything is said in plain text."""

    tls_certificate_file: Path | None = Field(
        None, description="This service's certificate and what lies between it and the authority (PEM); read again when it changes."
    )
    tls_key_file: Annotated[Path | None, SecretFile()] = Field(None, description="Private key of the certificate (PEM).")
    tls_authority_file: Path | None = Field(None, description="Authorities (PEM bundle) that the others' certificates are checked against.")
    tls_trust_domain: str = Field(
        "steno",
        pattern=r"^[a-z0-9._-]{1,255}$",
        description="Trust domain: a certificate's one URI is spiffe://<trust domain>/<service>.",
    )

    @property
    def tls_files(self) -> tuple[Path, Path, Path] | None:
        """Certificate, key and authorities; None without TLS."""
        certificate, key, authority = self.tls_certificate_file, self.tls_key_file, self.tls_authority_file
        return (certificate, key, authority) if certificate and key and authority else None

    @model_validator(mode="after")
    def _all_or_none(self) -> Self:
        missing = [name for name in _FILES if getattr(self, name) is None]
        if missing and len(missing) < len(_FILES):
            raise ValueError(f"{' and '.join(missing)} must be set too: TLS needs certificate, key and authority")
        return self

    def plain_text(self) -> list[str]:
        """What this service would say in plain text, one sentence each; a service adds its own wires."""
        if self.tls_files:
            return []
        prefix = type(self).model_config.get("env_prefix", "")
        return [f"{prefix}TLS_CERTIFICATE_FILE, _KEY_FILE and _AUTHORITY_FILE are not set: calls between services go in plain text"]


def tls_problems(settings: TlsSettings) -> list[str]:
    """What keeps the words of this service from being encrypted, one sentence each; empty when nothing does."""
    return settings.plain_text()
