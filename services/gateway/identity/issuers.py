"""Who may vouch for users, read from a TOML file."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from services.mesh.ids import is_id

SECRET_ALGORITHM = "HS256"  # noqa: S105 (a name)
MIN_SECRET_BYTES = 32
_MAX_SECRET_BYTES = 4096
_Text = Annotated[str, Field(min_length=1, max_length=1000)]


class IssuersInvalid(ValueError):
    """The issuers file cannot be used; the text lists every problem, one a line."""


class Issuer(BaseModel):
    """One issuer as its table in the file has it; docs/identity-providers.md explains every field."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: _Text
    audiences: list[_Text] = Field(min_length=1, max_length=100)
    algorithms: list[Literal["RS256", "ES256", "PS256", "EdDSA", "HS256"]] = Field(default=["RS256", "ES256"], min_length=1)
    jwks_url: str = Field("", max_length=2000)
    secret_file: Path | None = None
    email_claim: _Text = "email"
    require_email_verified: bool = True
    allow_other_audiences: bool = False
    allow_plain_http: bool = False
    workspace_id: str = ""
    role: Literal["user", "member"] | None = None

    @field_validator("workspace_id")
    @classmethod
    def _is_an_id(cls, value: str) -> str:
        if value and not is_id(value):
            raise ValueError("not the id of a workspace")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> "Issuer":
        if (SECRET_ALGORITHM in self.algorithms) != (self.secret_file is not None):
            raise ValueError("HS256 goes with a secret_file, and a secret_file with HS256")
        if self.secret_file is not None and (set(self.algorithms) != {SECRET_ALGORITHM} or self.jwks_url):
            raise ValueError("a secret_file goes with no other algorithm and no jwks_url")
        if self.role is not None and not self.workspace_id:
            raise ValueError("role needs a workspace_id")
        if self.secret_file is None and not self.can_fetch(self.jwks_url or self.issuer):
            raise ValueError("the address of the keys is not an https URL; allow_plain_http allows http")
        return self

    def can_fetch(self, url: str) -> bool:
        """Whether keys may be read from such an address."""
        return url.startswith("https://") or (self.allow_plain_http and url.startswith("http://"))

    def read_secret(self) -> bytes:
        """The shared secret of HS256, without the line's end. Raises IssuersInvalid."""
        try:
            secret = self.secret_file.read_bytes().rstrip(b"\r\n") if self.secret_file else b""
        except OSError as error:
            raise IssuersInvalid(f"secret_file of {self.issuer}: {error}") from error
        if not MIN_SECRET_BYTES <= len(secret) <= _MAX_SECRET_BYTES:
            raise IssuersInvalid(f"secret_file of {self.issuer}: a secret has {MIN_SECRET_BYTES} to {_MAX_SECRET_BYTES} bytes")
        return secret


class _IssuersFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: list[Issuer] = Field(default_factory=list, max_length=100)

    @model_validator(mode="after")
    def _named_once(self) -> "_IssuersFile":
        names = [issuer.issuer for issuer in self.issuer]
        if len(set(names)) != len(names):
            raise ValueError("an issuer stands there twice")
        return self


def read_issuers(path: Path | None) -> list[Issuer]:
    """The issuers of the file, none without one; secret files are found from its folder. Raises IssuersInvalid."""
    if path is None:
        return []
    try:
        found = _IssuersFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).issuer
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, item['loc'])) or 'file'}: {item['msg']}" for item in error.errors(include_input=False)]
        raise IssuersInvalid("\n".join([f"issuers file {path}:", *lines])) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise IssuersInvalid(f"issuers file {path}: {error}") from error
    return [issuer.model_copy(update={"secret_file": issuer.secret_file and path.parent / issuer.secret_file}) for issuer in found]
