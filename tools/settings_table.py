"""Write docs/settings.md from the settings classes: `python -m tools.settings_table`."""

import inspect
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from services.mesh.egress.settings import EgressSettings, NetworkPolicySettings
from services.mesh.settings import BusSettings, DatabaseSettings, ServiceSettings
from services.mesh.tls.settings import TlsSettings
from services.stack.config.classes import SERVICES as SERVICES
from services.stack.config.classes import settings_class
from services.stack.operator_settings import OperatorSettings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
# By the class that brings a setting first; everything else is the service's own.
GROUPS: dict[type[BaseSettings], str] = {
    ServiceSettings: "process",
    TlsSettings: "certificates",
    DatabaseSettings: "database",
    BusSettings: "bus",
    NetworkPolicySettings: "way out",
    EgressSettings: "way out",
}
HEAD = """# Settings

Written from the code by `python -m tools.settings_table`. Each is an environment variable, read once at start; a bad value is reported
with all others and ends the process with status 2. `steno up` sets ports, addresses, the identity key and the time to stop by itself,
whatever the environment says; it also sets databases, other files and directories, but there the environment wins.

`STENO_SECRETS_DIRECTORY` names a folder whose files are settings too: a file `STENO_JOBS_DATABASE_URL` holds what that variable would.
The environment goes first.
"""


def tables(service: str, settings: type[BaseSettings]) -> Iterator[str]:
    """The settings of a service, a table for each group: its own first."""
    fields = settings.model_fields
    groups = {name: group_of(settings, name) for name in fields}
    for group in dict.fromkeys(["its own", *GROUPS.values()]):
        names = [name for name in fields if groups[name] == group]
        if names:
            rows = "\n".join(row(service, name, fields[name]) for name in names)
            yield f"\n### {service}: {group}\n\n| setting | default | meaning |\n|---|---|---|\n{rows}\n"


def group_of(settings: type[BaseSettings], name: str) -> str:
    """What a setting is about."""
    bringing = [found for found in settings.__mro__ if name in inspect.get_annotations(found)]
    return GROUPS.get(bringing[-1], "its own")


def row(service: str, name: str, field: FieldInfo) -> str:
    """The line of one setting."""
    return f"| `STENO_{service.upper()}_{name.upper()}` | {default_of(field)} | {field.description} |"


def find_settings(service: str) -> type[BaseSettings]:
    """The settings class of a service. Raises StopIteration when it has none."""
    return settings_class(service)


def default_of(field: FieldInfo) -> str:
    """The default as the environment would write it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value in (None, "", ()) or isinstance(value, SecretStr):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def page() -> str:
    """What docs/settings.md shall be."""
    classes: dict[str, type[BaseSettings]] = {service: find_settings(service) for service in SERVICES}
    classes["operator"] = OperatorSettings
    return HEAD + "".join(f"\n## {service}\n" + "".join(tables(service, settings)) for service, settings in classes.items())


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
