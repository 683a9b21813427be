"""Compose starts every part hardened, with settings that exist and that production accepts."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.mesh.identity import load_key
from services.mesh.production import standing_weaknesses
from services.mesh.settings import ServiceSettings
from services.mesh.tls.certificates import read_certificates
from services.mesh.tls.identity import identity_of_uris
from services.stack.operator_settings import OperatorSettings
from tests.deploy.settings_in_use import (
    LAYERS,
    ROOT,
    SERVICES,
    MissingVariable,
    pinned_images,
    read_compose,
    secret_targets,
    settings_of_compose,
    some_variables,
)
from tests.servers import nats_binary
from tools.compose_setup import HOSTS, set_up
from tools.settings_table import find_settings

DEPLOY = ROOT / "deploy"
COMBINATIONS = [LAYERS[:1], LAYERS[:2], (LAYERS[0], LAYERS[2]), LAYERS]
# Their images have no program inside that could ask; migrate and the operator's commands end.
UNASKED = {"collector", "jaeger", "migrate", "operator"}
Json = dict[str, Any]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compose") / "state"
    set_up(folder, os.geteuid(), os.getegid())
    return folder


@pytest.fixture(scope="module", params=COMBINATIONS, ids=" ".join)
def composed(request: pytest.FixtureRequest, state: Path) -> Json:
    return read_compose(some_variables(str(state)), request.param)


def on_this_machine(composed: Json, container: Json) -> dict[str, Path]:
    """Where the paths of a container lie here, by the path inside."""
    found = {}
    for volume in container.get("volumes", ()):
        here, inside = volume.split(":")[:2]
        found[inside] = (DEPLOY / here).resolve()
    for target, source in secret_targets(container).items():
        found[target if target.startswith("/") else f"/run/secrets/{target}"] = Path(composed["secrets"][source]["file"])
    return found


def settings_of(service: str, composed: Json, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServiceSettings:
    """What the service's own class reads from its container's environment, with the paths of this machine."""
    container = composed["services"][service]
    places = on_this_machine(composed, container)
    for name, value in container["environment"].items():
        inside = max((place for place in places if value.startswith(place)), key=len, default=None)
        monkeypatch.setenv(name, value.replace(inside, str(places[inside]), 1) if inside else value)
    for inside, here in places.items():
        if inside.startswith("/run/secrets/"):
            (tmp_path / Path(inside).name).write_bytes(here.read_bytes())
    read = find_settings(service)(_secrets_dir=tmp_path)
    assert isinstance(read, ServiceSettings)
    return read


@pytest.mark.parametrize("layers", COMBINATIONS, ids=" ".join)
def test_every_variable_is_a_setting_of_its_service(layers: tuple[str, ...]) -> None:
    services = read_compose(some_variables(), layers)["services"]
    for service, names in settings_of_compose(layers).items():
        fields = find_settings(service).model_fields
        assert {name for name in names if name.removeprefix(f"STENO_{service.upper()}_").lower() not in fields} == set()
        others = {name for name in services[service]["environment"] if name not in names}
        assert {name for name in others if not name.startswith("OTEL_")} == {"STENO_SECRETS_DIRECTORY"}


@pytest.mark.parametrize("service", SERVICES)
def test_production_refuses_nothing_of_it(service: str, composed: Json, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = settings_of(service, composed, tmp_path, monkeypatch)
    assert read.profile == "production"
    assert [found.sentence for found in standing_weaknesses(read) if found.risk not in read.accepted_risks] == []
    assert read.accepted_risks == (("plaintext_web",) if service == "storage" else ())


def test_servers_find_each_other_under_their_own_names(composed: Json) -> None:
    services = composed["services"]
    for service in SERVICES:
        environment = services[service]["environment"]
        assert environment[f"STENO_{service.upper()}_HOST"] == "0.0.0.0"
        for name, value in environment.items():
            if not name.endswith("_ADDRESS"):
                continue
            host, port = value.split(":")
            if host in SERVICES:
                assert port == services[host]["environment"][f"STENO_{host.upper()}_PORT"], name
            assert set(services[service]["networks"]) & set(services[host]["networks"]), f"{service} does not reach {host}"
            assert host in HOSTS, f"the certificate of {host} is not for that name"
    assert (
        services["storage"]["environment"]["STENO_STORAGE_DATA_URL"] == services["gateway"]["environment"]["STENO_GATEWAY_STORAGE_DATA_URL"]
    )


def test_every_container_is_hardened(composed: Json) -> None:
    for name, container in composed["services"].items():
        assert container["read_only"] is True, name
        assert container["cap_drop"] == ["ALL"], name
        assert "cap_add" not in container, name
        assert not container.get("privileged"), name
        assert container["security_opt"] == ["no-new-privileges:true"], name
        assert container["user"] == "65532:65532", name
        assert any(mount.startswith("/tmp:size=") for mount in container["tmpfs"]), name
        limits = container["deploy"]["resources"]["limits"]
        assert {"cpus", "memory", "pids"} <= limits.keys(), name
        assert container["healthcheck"].get("disable", False) == (name in UNASKED), name
        assert container["networks"], name
        assert container["logging"]["options"]["max-size"], name
        assert not re.search("docker.sock|network_mode|pid:|ipc:", yaml.safe_dump(container)), name


def test_services_have_time_to_end_what_they_do(composed: Json, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for service in SERVICES:
        read = settings_of(service, composed, tmp_path, monkeypatch)
        given = int(composed["services"][service]["stop_grace_period"].removesuffix("s"))
        assert given > read.shutdown_notice_seconds + read.shutdown_grace_seconds + 5, service


def test_start_waits_for_the_migrations_and_for_what_is_called(composed: Json) -> None:
    services = composed["services"]
    for service in SERVICES:
        needs = services[service]["depends_on"]
        assert needs["nats"] == {"condition": "service_healthy"}
        assert needs.get("migrate") == (
            {"condition": "service_completed_successfully"} if service in ("billing", "storage", "jobs") else None
        )
    migrated = set(secret_targets(services["migrate"]))
    assert migrated == {f"STENO_{service.upper()}_DATABASE_URL" for service in ("billing", "storage", "jobs")}
    assert all(target in secret_targets(services[target.split("_")[1].lower()]) for target in migrated)


def test_only_the_gateway_and_storage_reach_the_internet_and_nothing_is_published_widely(composed: Json) -> None:
    outside = {name for name, container in composed["services"].items() if "outside" in container["networks"]}
    assert outside - {"grafana"} == {"gateway", "storage"}
    assert {name for name, network in composed["networks"].items() if not network.get("internal")} == {"outside"}
    ports = {name: container["ports"] for name, container in composed["services"].items() if "ports" in container}
    assert ports.pop("gateway") == ["127.0.0.1:8080:8080"]
    assert ports in ({}, {"grafana": ["127.0.0.1:3000:3000"]})


def test_operator_reaches_billing_with_a_certificate_of_its_own(composed: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    container = composed["services"]["operator"]
    places = on_this_machine(composed, container)
    for name, value in container["environment"].items():
        inside = next((place for place in places if value.startswith(place)), None)
        monkeypatch.setenv(name, value.replace(inside, str(places[inside]), 1) if inside else value)
    read = OperatorSettings()
    assert read.identity_key_file is not None
    assert load_key(read.identity_key_file).is_private
    certificates = read_certificates(read)
    assert certificates is not None
    assert certificates.current.identity == "operator"
    assert read.billing_address == composed["services"]["jobs"]["environment"]["STENO_JOBS_BILLING_ADDRESS"]
    assert "mesh" in container["networks"]


def test_secrets_are_files_and_each_service_has_its_own_alone(composed: Json) -> None:
    owners: dict[str, set[str]] = {}
    for name, container in composed["services"].items():
        for source in secret_targets(container).values():
            owners.setdefault(source, set()).add(name)
    assert owners["identity"] == {*SERVICES, "operator"}
    assert (owners["pepper"], owners["claim-key"], owners["signing-key"]) == ({"billing"}, {"jobs"}, {"storage"})
    assert owners.keys() == composed["secrets"].keys()
    for name, container in composed["services"].items():
        certificates = [volume for volume in container.get("volumes", ()) if "/certificates/" in volume]
        assert all(volume.endswith("/etc/steno/certificates:ro") for volume in certificates)
        owner = {"migrate": "operator", "postgres": "client/postgres"}.get(name, name)
        assert all(f"/certificates/{owner}:" in volume for volume in certificates)


def test_everything_that_is_mounted_is_there(composed: Json) -> None:
    for name, container in composed["services"].items():
        for here in on_this_machine(composed, container).values():
            assert here.exists(), f"{name}: {here}"
        for file in container.get("env_file", ()):
            assert Path(file).exists()


def test_folders_and_keys_are_their_owner_s_alone_and_stay(state: Path) -> None:
    files = {path: path.read_bytes() for path in state.rglob("*") if path.is_file()}
    assert {path.name for path in files if path.stat().st_mode & 0o077} == set()
    set_up(state, os.geteuid(), os.getegid())
    assert {path: path.read_bytes() for path in files} == files


def test_compose_without_its_variables_says_what_to_run() -> None:
    with pytest.raises(MissingVariable, match="STENO_UID"):
        read_compose(pinned_images())
    assert "${STENO_UID:?run make compose-setup}" in (DEPLOY / "compose.yaml").read_text()


def test_nats_takes_its_configuration_and_lets_only_the_services_in(state: Path, tmp_path: Path) -> None:
    text = (DEPLOY / "compose" / "nats.conf").read_text()
    here = text.replace("/etc/steno/certificates", str(state / "certificates" / "nats")).replace("/var/lib/nats", str(tmp_path))
    (tmp_path / "nats.conf").write_text(here)
    subprocess.run([nats_binary(), "-t", "-c", str(tmp_path / "nats.conf")], check=True, capture_output=True, timeout=30)
    users = re.findall(r'user: "([^"]+)"', text)
    assert {identity_of_uris([uri], "steno") for uri in users} == set(SERVICES)
    for line in ("sync_interval: always", "verify_and_map: true", "handshake_first: true"):
        assert f"  {line}" in text


def test_observability_reads_the_rules_and_every_service(composed: Json) -> None:
    prometheus = yaml.safe_load((DEPLOY / "compose" / "prometheus.yaml").read_text())
    jobs = {job["job_name"]: job["dns_sd_configs"][0] for job in prometheus["scrape_configs"]}
    assert set(jobs["steno"]["names"]) == set(SERVICES)
    ports = {composed["services"][service]["environment"][f"STENO_{service.upper()}_METRICS_PORT"] for service in SERVICES}
    assert ports == {str(jobs["steno"]["port"])}
    assert list((DEPLOY / "observability" / "rules").glob("*.rules.yaml"))
    collector = yaml.safe_load((DEPLOY / "compose" / "collector.yaml").read_text())
    port = collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"].rpartition(":")[2]
    endpoints = {composed["services"][service]["environment"].get("OTEL_EXPORTER_OTLP_ENDPOINT") for service in SERVICES}
    assert endpoints == ({f"http://collector:{port}"} if "collector" in composed["services"] else {None})
