"""The files in deploy/ name what exists."""

import importlib.util
import subprocess
from pathlib import Path

import pytest

from services.mesh.production import standing_weaknesses
from services.mesh.settings import ServiceSettings
from services.stack.data_directory import DataDirectory
from services.stack.layout import choose_ports, service_children
from services.stack.operator_settings import OperatorSettings
from tests.certificates import write_identity
from tests.servers import nats_binary
from tools.settings_table import find_settings

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("billing", "storage", "jobs", "inference", "gateway")


@pytest.mark.parametrize("service", SERVICES)
def test_environment_file_names_only_settings_and_suffices(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = _values(service)
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


def test_nats_accepts_its_configuration_and_syncs_always(tmp_path: Path) -> None:
    text = (ROOT / "deploy" / "nats" / "nats.conf").read_text()
    identity = write_identity(tmp_path, ["localhost"])
    for file, path in (("tls.crt", identity.certificate), ("tls.key", identity.key), ("ca.crt", identity.certificate)):
        text = text.replace(f"/etc/steno/certificates/nats/{file}", str(path))
    (tmp_path / "nats.conf").write_text(text)
    subprocess.run([nats_binary(), "-t", "-c", str(tmp_path / "nats.conf")], check=True, capture_output=True, timeout=30)
    assert "sync_interval: always" in text
    assert "handshake_first: true" in text


@pytest.mark.parametrize("service", SERVICES)
def test_with_its_keys_in_place_the_production_profile_accepts_an_environment_file(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in _values(service).items():
        monkeypatch.setenv(name, value)
    read = find_settings(service)()
    assert isinstance(read, ServiceSettings)
    assert [weakness.sentence for weakness in standing_weaknesses(read) if "/etc/steno/" not in weakness.sentence] == []


def test_the_operators_file_names_only_settings() -> None:
    names = [name.removeprefix("STENO_OPERATOR_").lower() for name in _values("operator")]
    assert names
    assert [name for name in names if name not in OperatorSettings.model_fields] == []


def _values(service: str) -> dict[str, str]:
    lines = (ROOT / "deploy" / "env" / f"{service}.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))
