"""Settings: environment variables read once, every problem reported together."""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.mesh.tls.settings import TlsSettings
from services.mesh.weaknesses import Risk, SecretFile

SECRETS_VARIABLE = "STENO_SECRETS_DIRECTORY"
Settings = TypeVar("Settings", bound=BaseSettings)


class UnusableSettings(Exception):
    """Settings name what is not there, or are too weak for their profile; each argument is a sentence that says which and what to do."""


def settings_config(env_prefix: str) -> SettingsConfigDict:
    """Configuration of a settings class; `env_prefix` ends with an underscore."""
    return SettingsConfigDict(env_prefix=env_prefix, frozen=True, extra="ignore", env_ignore_empty=True, populate_by_name=True)


class ServiceSettings(TlsSettings):
    """What every service of the mesh reads."""

    host: str = Field("127.0.0.1", description="Address that the service listens on.")
    port: int = Field(0, ge=0, le=65535, description="Port that the service listens on; 0 takes a free one.")
    profile: Literal["embedded", "production"] = Field(
        "embedded",
        description="embedded: one machine, migrations at start. production: migrations by `steno migrate`, weak settings refused.",
    )
    accepted_risks: tuple[Risk, ...] = Field(
        (),
        description=(
            "Weaknesses that the production profile accepts here, by name, as a JSON list; each is logged at every start."
            f" Of {', '.join(get_args(Risk))}."
        ),
    )
    identity_key_file: Annotated[Path, SecretFile()] = Field(
        Path(".steno/keys/identity.pem"), description="Ed25519 private key (PEM) that signs and verifies caller tokens."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severity that is logged.")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="Form of the log lines; auto means console on a terminal, else json."
    )
    metrics_port: int = Field(0, ge=0, le=65535, description="Port of the Prometheus endpoint; 0 turns it off.")
    rpc_timeout_seconds: float = Field(
        5.0, gt=0, le=300, description="Seconds that another service may take to answer a call; some calls have limits of their own."
    )
    shutdown_notice_seconds: float = Field(
        0.0,
        ge=0,
        le=300,
        description=(
            "Seconds after SIGTERM in which the service says that it is not ready, ends each HTTP connection with its answer and serves on,"
            " so that balancers turn elsewhere; longer than they take to notice."
        ),
    )
    shutdown_grace_seconds: float = Field(
        10.0, gt=0, le=300, description="Seconds that requests and work in hand get to finish after SIGTERM."
    )


class DatabaseSettings(BaseSettings):
    """What a service with a database reads; each sets its own default file."""

    database_url: str = Field(
        ...,
        description="sqlite+aiosqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/NAME; each service keeps its own schema.",
    )


class BusSettings(BaseSettings):
    """What a service on the bus reads."""

    nats_url: str = Field("nats://127.0.0.1:4222", description="Address of the NATS server with JetStream.")
    nats_monitor_url: str = Field(
        "",
        description=(
            "nats-server's monitor, such as http://nats:8222, of several servers separated by commas: asked in production whether"
            " every acknowledged message is synced."
        ),
    )


def read_settings(settings_class: type[Settings]) -> Settings:
    """The settings of this process. Exits with status 2 and every problem on standard error.

    What the environment does not say, files of the folder STENO_SECRETS_DIRECTORY may, each named like its variable.
    """
    folder = os.environ.get(SECRETS_VARIABLE) or None
    if folder and not Path(folder).is_dir():
        print(f"{SECRETS_VARIABLE}: {folder} is no folder", file=sys.stderr)
        sys.exit(2)
    try:
        return settings_class(_secrets_dir=folder)
    except ValidationError as error:
        for problem in problems_of(error, settings_class):
            print(problem, file=sys.stderr)
        sys.exit(2)


def problems_of(error: ValidationError, settings_class: type[BaseSettings]) -> list[str]:
    """A line for each setting that cannot be read, without its value."""
    prefix = settings_class.model_config.get("env_prefix", "")
    names = ["_".join(str(part) for part in problem["loc"]).upper().removeprefix(prefix) for problem in error.errors()]
    return [f"{prefix}{name}: {problem['msg']}" for name, problem in zip(names, error.errors(), strict=True)]
