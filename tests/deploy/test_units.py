"""The files in deploy/ name what exists."""

import importlib.util
import subprocess
from pathlib import Path

import pytest

from services.mesh.settings import ServiceSettings
from services.stack.data_directory import DataDirectory
from services.stack.layout import choose_ports, service_children
from tests.servers import nats_binary
from tools.settings_table import find_settings

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("billing", "storage", "jobs", "inference", "gateway")


@pytest.mark.parametrize("service", SERVICES)
def test_environment_file_names_only_settings_and_suffices(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (ROOT / "deploy" / "env" / f"{service}.env").read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    settings = find_settings(service)
    prefix = f"STENO_{service.upper()}_"
    assert [name for name in values if name.removeprefix(prefix).lower() not in settings.model_fields] == []
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    read = settings()
    assert isinstance(read, ServiceSettings)
    assert read.profile == "production"
    assert importlib.util.find_spec(f"services.{service}.__main__")


def test_services_find_each_other_and_the_files_of_steno_up_by_default() -> None:
    settings = {service: {name: field.default for name, field in find_settings(service).model_fields.items()} for service in SERVICES}
    for service in SERVICES:
        for other in SERVICES:
            address = f"127.0.0.1:{settings[other]['port']}"
            assert settings[service].get(f"{other}_address", address) == address
    assert settings["gateway"]["storage_data_url"] == f"http://127.0.0.1:{settings['storage']['data_port']}"
    for spec in service_children(DataDirectory(Path(".steno")), choose_ports(0), {}):
        files = ("identity_key_file", "pepper_file", "claim_key_file", "signing_key_file", "blob_directory", "scratch_directory")
        for name in ("database_url", *files):
            given = spec.environment.get(f"STENO_{spec.name.upper()}_{name.upper()}")
            assert given is None or str(settings[spec.name][name]) == given


def test_nats_accepts_its_configuration_and_syncs_always() -> None:
    path = ROOT / "deploy" / "nats" / "nats.conf"
    subprocess.run([nats_binary(), "-t", "-c", str(path)], check=True, capture_output=True, timeout=30)
    assert "sync_interval: always" in path.read_text()
