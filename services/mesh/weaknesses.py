"""What is too weak for production: the marks that settings carry for it, and what is told of one that is."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

from pydantic_settings import BaseSettings

Risk: TypeAlias = Literal[
    "plaintext_services", "plaintext_database", "plaintext_web", "database_durability", "database_role", "bus_durability", "open_egress"
]


@dataclass(frozen=True)
class Weakness:
    """One reason not to start. sentence: names the setting and the cure. risk: the name by which an operator may accept it."""

    sentence: str
    risk: Risk | None = None


@dataclass(frozen=True)
class SecretFile:
    """Marks a setting that names a file with a secret. each_line: whether every line of it is one of its own."""

    least_bytes: int = 1
    each_line: bool = False


@dataclass(frozen=True)
class Web:
    """Marks a setting that is the URL of a server to which secrets or what people said are sent."""


Mark = TypeVar("Mark", SecretFile, Web)


def marked(settings: BaseSettings, kind: type[Mark]) -> Iterator[tuple[str, Mark, Any]]:
    """The environment name, the mark and the value of every setting that is marked so."""
    for name, field in type(settings).model_fields.items():
        for mark in field.metadata:
            if isinstance(mark, kind):
                yield variable_name(settings, name), mark, getattr(settings, name)


def variable_name(settings: BaseSettings, name: str) -> str:
    """The environment variable of a setting."""
    return f"{type(settings).model_config.get('env_prefix', '')}{name.upper()}"
