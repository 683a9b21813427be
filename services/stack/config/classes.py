"""The settings of each service, by the names that its environment gives them."""

import importlib
from collections.abc import Sequence

from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from services.mesh.settings import ServiceSettings

SERVICES = ("gateway", "jobs", "billing", "storage", "inference")


def settings_class(service: str) -> type[ServiceSettings]:
    """The settings class of a service. Raises StopIteration when it has none."""
    module = importlib.import_module(f"services.{service}.settings")
    classes = (value for value in vars(module).values() if isinstance(value, type) and issubclass(value, ServiceSettings))
    return next(found for found in classes if found.model_config.get("env_prefix") == prefix(service))


def prefix(service: str) -> str:
    """What the names of a service's settings begin with."""
    return f"STENO_{service.upper()}_"


def variables(service: str, name: str, field: FieldInfo) -> Sequence[str]:
    """The environment variables that a setting is read from, the first that is there."""
    if isinstance(field.validation_alias, AliasChoices):
        return [choice for choice in field.validation_alias.choices if isinstance(choice, str)]
    return [f"{prefix(service)}{name.upper()}"]


def all_variables(service: str) -> list[str]:
    """Every environment variable that a service reads."""
    return [variable for name, field in settings_class(service).model_fields.items() for variable in variables(service, name, field)]
