"""Ports that stay the services' own, and the environment that each service gets."""

import socket
from pathlib import Path

import pytest

from services.stack.data_directory import DataDirectory
from services.stack.layout import SERVICES, choose_ports, service_children
from tools.settings_table import find_settings


def test_taken_port_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(OSError, match="in use"):
        choose_ports(listener.getsockname()[1])


def test_chosen_ports_differ_and_are_no_ephemeral_ones() -> None:
    ports = choose_ports(0)
    chosen = [ports.nats, ports.storage_data, *ports.services.values()]
    lowest_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert len(set(chosen)) == 7
    assert all(1024 <= port < lowest_ephemeral for port in chosen)


def test_every_service_is_told_where_the_others_are(tmp_path: Path) -> None:
    ports = choose_ports(0)
    given = {spec.name: spec.environment for spec in service_children(DataDirectory(tmp_path), ports, {})}
    assert tuple(given) == SERVICES
    assert given["gateway"]["STENO_GATEWAY_JOBS_ADDRESS"] == f"127.0.0.1:{given['jobs']['STENO_JOBS_PORT']}"
    assert given["gateway"]["STENO_GATEWAY_STORAGE_DATA_URL"] == given["storage"]["STENO_STORAGE_DATA_URL"]


def test_every_variable_that_a_service_gets_is_a_setting_of_it(tmp_path: Path) -> None:
    for spec in service_children(DataDirectory(tmp_path), choose_ports(0), {}):
        prefix = f"STENO_{spec.name.upper()}_"
        given = {name.removeprefix(prefix).lower() for name in spec.environment if name.startswith(prefix)}
        assert given - set(find_settings(spec.name).model_fields) == set()


def test_every_file_of_a_service_lies_in_the_data_directory(tmp_path: Path) -> None:
    for spec in service_children(DataDirectory(tmp_path), choose_ports(0), {}):
        prefix = f"STENO_{spec.name.upper()}_"
        settings = find_settings(spec.name).model_validate(
            {name.removeprefix(prefix).lower(): value for name, value in spec.environment.items() if value and name.startswith(prefix)}
        )
        paths = {name: value for name, value in settings if isinstance(value, Path) and name != "plans_file"}
        assert {name for name, path in paths.items() if not path.is_relative_to(tmp_path)} == set()


def test_environment_tunes_services_but_does_not_rewire_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STENO_JOBS_DATABASE_URL", "postgresql://elsewhere/jobs")
    monkeypatch.setenv("STENO_JOBS_PORT", "1")
    monkeypatch.setenv("STENO_INFERENCE_ENGINE", "from the environment")
    ports = choose_ports(0)
    overrides = {"STENO_INFERENCE_ENGINE": "from the command line"}
    given = {spec.name: spec.environment for spec in service_children(DataDirectory(tmp_path), ports, overrides)}
    assert given["jobs"]["STENO_JOBS_DATABASE_URL"] == "postgresql://elsewhere/jobs"
    assert given["jobs"]["STENO_JOBS_PORT"] == str(ports.services["jobs"])
    assert given["inference"]["STENO_INFERENCE_ENGINE"] == "from the command line"


def test_services_of_one_mesh_keep_their_own_names_in_traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "ours")
    given = {spec.name: spec.environment for spec in service_children(DataDirectory(tmp_path), choose_ports(0), {})}
    assert {name: environment["OTEL_SERVICE_NAME"] for name, environment in given.items()} == {name: f"ours-{name}" for name in SERVICES}
    assert {environment["OTEL_EXPORTER_OTLP_ENDPOINT"] for environment in given.values()} == {"http://collector:4318"}
