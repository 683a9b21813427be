"""Write docs/settings.md from the settings classes: `python -m tools.settings_table`."""

import importlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
SERVICES = ("gateway", "jobs", "billing", "storage", "inference")
HEAD = """# Settings

Written from the code by `python -m tools.settings_table`. Each is an environment variable, read once at start; a bad value is reported
with all others and ends the process with status 2. `steno up` sets ports, addresses, the identity key and the time to stop by itself,
whatever the environment says; it also sets databases, other files and directories, but there the environment wins.

`STENO_SECRETS_DIRECTORY` names a folder whose files are settings too: a file `STENO_JOBS_DATABASE_URL` holds what that variable would.
The environment goes first.
"""


def rows(service: str) -> Iterator[str]:
    """One table row per setting of a service."""
    settings = find_settings(service)
    for name, field in settings.model_fields.items():
        yield f"| `STENO_{service.upper()}_{name.upper()}` | {default_of(field)} | {field.description} |"


def find_settings(service: str) -> type[BaseSettings]:
    """The settings class of a service. Raises StopIteration when it has none."""
    module = importlib.import_module(f"services.{service}.settings")
    prefix = f"STENO_{service.upper()}_"
    classes = (value for value in vars(module).values() if isinstance(value, type) and issubclass(value, BaseSettings))
    return next(found for found in classes if found.model_config.get("env_prefix") == prefix)


def default_of(field: FieldInfo) -> str:
    """The default as the environment would write it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value == "" or isinstance(value, SecretStr):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def main() -> None:
    """Write the page."""
    tables = [
        f"\n## {service}\n\n| setting | default | meaning |\n|---|---|---|\n" + "\n".join(rows(service)) + "\n" for service in SERVICES
    ]
    PAGE.write_text(HEAD + "".join(tables))


if __name__ == "__main__":
    main()
