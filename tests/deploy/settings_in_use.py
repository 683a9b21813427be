"""What deploy/compose.yaml and its layers give the services, with variables filled in and layers merged as compose does."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("billing", "storage", "jobs", "inference", "gateway")
LAYERS = ("compose.yaml", "compose.observability.yaml", "compose.gpu.yaml")
Json = dict[str, Any]
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?:(?P<kind>:-|:\?)(?P<rest>[^}]*))?\}")


class MissingVariable(LookupError):
    """Compose would refuse to start: a variable has neither value nor default."""


def read_compose(variables: Mapping[str, str], layers: tuple[str, ...] = LAYERS[:1]) -> Json:
    """The files as one. Raises MissingVariable."""
    merged: Json = {}
    for name in layers:
        merged = _merge(merged, _fill(yaml.load((ROOT / "deploy" / name).read_text(), yaml.CSafeLoader), variables))
    return merged


def _fill(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _fill(inner, variables) for key, inner in value.items()}
    if isinstance(value, list):
        return [_fill(inner, variables) for inner in value]
    return _VARIABLE.sub(lambda found: _value(found, variables), value) if isinstance(value, str) else value


def _value(found: re.Match[str], variables: Mapping[str, str]) -> str:
    if given := variables.get(found["name"]):
        return given
    if found["kind"] == ":-":
        return found["rest"]
    raise MissingVariable(found["name"])


def _merge(below: Any, above: Any) -> Any:
    """A layer over another: mappings by key, sequences joined, the rest replaced."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{key: _merge(below[key], value) if key in below else value for key, value in above.items()}}
    if isinstance(below, list) and isinstance(above, list):
        return [*below, *(item for item in above if item not in below)]
    return above


def pinned_images() -> dict[str, str]:
    """deploy/images.env."""
    lines = (ROOT / "deploy" / "images.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def some_variables(state: str = "/state") -> dict[str, str]:
    """What `make compose-up` hands to compose, for a folder of state and a model."""
    return {**pinned_images(), "STENO_STATE": state, "STENO_UID": "65532", "STENO_GID": "65532", "STENO_INFERENCE_MODEL": "small"}


def settings_of_compose(layers: tuple[str, ...] = LAYERS[:1]) -> dict[str, set[str]]:
    """Per service the STENO_<SERVICE>_* variables that its container is given, in its environment or as files of secrets."""
    services = read_compose(some_variables(), layers)["services"]
    return {
        service: {
            name for name in (*services[service]["environment"], *secret_targets(services[service])) if name.startswith(_prefix(service))
        }
        for service in SERVICES
    }


def secret_targets(container: Json) -> dict[str, str]:
    """Names of a container's secrets by the path or the name that it finds them under."""
    given = (secret if isinstance(secret, dict) else {"source": secret, "target": secret} for secret in container.get("secrets", ()))
    return {secret["target"]: secret["source"] for secret in given}


def _prefix(service: str) -> str:
    return f"STENO_{service.upper()}_"
