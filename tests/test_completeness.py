"""What is declared in one place exists in the other: RPCs, reasons, settings, metrics."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import ServiceDescriptor
from pydantic_settings import BaseSettings

from services.gateway.contracts.native.errors import ANSWERS
from services.mesh.errors import MeshError
from services.mesh.interceptors import read_rules
from services.mesh.status import CODES, RemoteError
from steno.access.v1 import access_pb2
from steno.errors.v1.error_reason_pb2 import ErrorReason

ROOT = Path(__file__).resolve().parents[1]
SERVICES = ("billing", "storage", "jobs", "inference", "gateway")
SETTINGS = {name: f"services.{name}.settings" for name in SERVICES}


def sources() -> Iterator[Path]:
    """Every module of the services."""
    return (path for path in (ROOT / "services").rglob("*.py"))


def proto_services() -> list[ServiceDescriptor]:
    """Every gRPC service of the protos."""
    modules = [path.relative_to(ROOT / "protos").with_suffix("") for path in (ROOT / "protos").rglob("*_service.proto")]
    files = [importlib.import_module(".".join(module.parts) + "_pb2").DESCRIPTOR for module in modules]
    return [service for file in files for service in file.services_by_name.values()]


def servicer_classes(service: ServiceDescriptor) -> list[set[str]]:
    """Names of the methods of every class that derives from the service's servicer."""
    classes = (node for path in sources() for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef))
    servicers = (node for node in classes if any(ast.unparse(base).rpartition(".")[2] == f"{service.name}Servicer" for base in node.bases))
    return [{item.name for item in node.body if isinstance(item, ast.AsyncFunctionDef)} for node in servicers]


@pytest.mark.parametrize("service", proto_services(), ids=lambda service: service.name)
def test_every_rpc_is_implemented_and_says_who_may_call_it(service: ServiceDescriptor) -> None:
    assert {method.name for method in service.methods} == set().union(*servicer_classes(service))
    assert access_pb2.ACCESS_UNSPECIFIED not in {rule.access for rule in read_rules([service]).values()}


def error_classes() -> set[type[MeshError]]:
    """Every error that a service can answer with."""
    for path in sources():
        if path.name in ("domain.py", "errors.py"):
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    meanings = {MeshError, RemoteError, *CODES} - {_internal()}

    def below(parent: type[MeshError]) -> Iterator[type[MeshError]]:
        for child in parent.__subclasses__():
            yield child
            yield from below(child)

    return {error for error in below(MeshError) if error.__module__.startswith("services.")} - meanings


def _internal() -> type[MeshError]:
    from services.mesh.errors import Internal

    return Internal


def test_every_error_reason_has_a_class_and_every_class_a_reason() -> None:
    declared = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.DESCRIPTOR.values_by_name} - {"UNSPECIFIED"}
    assert {error.reason() for error in error_classes()} == declared


def setting_names(service: str) -> Iterator[tuple[str, str]]:
    """Environment names of a service's settings with their descriptions."""
    module = importlib.import_module(SETTINGS[service])
    for value in vars(module).values():
        prefix = f"STENO_{service.upper()}_"
        if isinstance(value, type) and issubclass(value, BaseSettings) and value.model_config.get("env_prefix") == prefix:
            for name, field in value.model_fields.items():
                yield prefix + name.upper(), field.description or ""


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_is_described_and_documented(service: str) -> None:
    documented = (ROOT / "docs" / "settings.md").read_text()
    names = dict(setting_names(service))
    assert names
    assert [name for name, description in names.items() if not description.endswith(".")] == []
    assert [name for name in names if f"`{name}`" not in documented] == []


def test_every_error_code_of_the_native_contract_is_documented() -> None:
    page = (ROOT / "docs" / "rest.md").read_text()
    assert [answer.code for answer in ANSWERS.values() if f"`{answer.code}`" not in page] == []


def test_metrics_are_made_in_one_module_only() -> None:
    makers = re.compile(r"\b(Counter|Gauge|Histogram|Summary)\(\s*[\"']steno")
    assert {path.name for path in sources() if makers.search(path.read_text())} == {"semconv.py"}


def test_no_module_is_longer_than_400_lines() -> None:
    assert [str(path) for path in sources() if len(path.read_text().splitlines()) > 400] == []
