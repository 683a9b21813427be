"""What the services are given is what they read, and enough for production."""

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr

from services.mesh.exposure import exposure_weaknesses
from services.mesh.settings import ServiceSettings
from services.mesh.weaknesses import SecretFile, marked
from services.stack.operator_settings import OperatorSettings
from tests.deploy.charts import SERVICES, Document, Rendering, component, container_of, secret_files, settings_of_chart, workloads
from tools.settings_table import find_settings

URL = "postgresql+psycopg://steno:a-password@database/steno?sslmode=verify-full&sslrootcert=/etc/steno/postgres/ca.crt"


@pytest.fixture
def settings(rendering: Rendering, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, ServiceSettings]:
    """The settings of every service, read by its own class from what the chart gives it."""
    return dict(_read(rendering, monkeypatch, tmp_path))


def _read(rendering: Rendering, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[tuple[str, ServiceSettings]]:
    for service in SERVICES:
        for name, value in rendering.variables(service).items():
            monkeypatch.setenv(name, value)
        for name in secret_files(_pod(rendering, service)):
            (folder / name).write_text(URL if name.endswith("DATABASE_URL") else "header=a-random-word")
        read = find_settings(service)(_secrets_dir=folder)
        assert isinstance(read, ServiceSettings)
        yield service, read


def _pod(rendering: Rendering, service: str) -> Document:
    spec: Document = rendering.one("Deployment", service)["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("service", SERVICES)
def test_every_variable_is_a_setting_of_its_service(rendering: Rendering, service: str) -> None:
    prefix = f"STENO_{service.upper()}_"
    given = {*rendering.variables(service), *secret_files(_pod(rendering, service))}
    foreign = {name for name in given if not name.startswith((prefix, "OTEL_")) and name != "STENO_SECRETS_DIRECTORY"}
    assert foreign == set()
    assert {name.removeprefix(prefix).lower() for name in settings_of_chart(rendering)[service]} <= set(find_settings(service).model_fields)


def test_commands_find_billing_and_the_databases_in_the_operator_s_pod(
    rendering: Rendering, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = rendering.variables("operator")
    assert {name.removeprefix("STENO_OPERATOR_").lower() for name in given if name.startswith("STENO_OPERATOR_")} <= set(
        OperatorSettings.model_fields
    )
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = OperatorSettings()
    assert settings.billing_address == rendering.variables("gateway")["STENO_GATEWAY_BILLING_ADDRESS"]
    assert settings.tls_files is not None
    files = set(secret_files(_pod(rendering, "operator")))
    assert files == {f"STENO_{service.upper()}_DATABASE_URL" for service in ("billing", "storage", "jobs")}


def test_production_has_nothing_to_refuse_of_what_the_chart_sets(settings: Mapping[str, ServiceSettings]) -> None:
    for service, read in settings.items():
        assert read.profile == "production", service
        open_to_others = [found for found in exposure_weaknesses(read) if found.risk not in read.accepted_risks]
        assert open_to_others == [], service
        assert getattr(read, "nats_monitor_url", "http") != "", service


def test_only_the_risk_of_the_chart_s_own_s3_server_is_accepted(renderings: Mapping[str, Rendering]) -> None:
    accepted = {
        (rendering.name, service, value)
        for rendering in renderings.values()
        for service in SERVICES
        for name, value in rendering.variables(service).items()
        if name.endswith("ACCEPTED_RISKS")
    }
    assert accepted == {("gpu", "storage", '["plaintext_web"]')}


def test_every_file_that_is_named_lies_in_a_mounted_folder(rendering: Rendering, settings: Mapping[str, ServiceSettings]) -> None:
    for service, read in settings.items():
        mounts = [mount["mountPath"] for mount in container_of(rendering.one("Deployment", service))["volumeMounts"]]
        files = [Path(value) for name, value in rendering.variables(service).items() if name.endswith(("_FILE", "_DIRECTORY"))]
        assert [path for path in files if not any(path.is_relative_to(mount) for mount in mounts)] == [], service
        # What is a secret has no default that is found in no container.
        assert [name for name, _, path in marked(read, SecretFile) if path is not None and not path.is_absolute()] == [], service


def test_services_find_each_other_where_the_services_are(rendering: Rendering, settings: Mapping[str, ServiceSettings]) -> None:
    headless = {
        found["metadata"]["name"]: found["spec"] for found in rendering.of_kind("Service") if found["spec"].get("clusterIP") == "None"
    }
    for service, read in settings.items():
        for other in SERVICES:
            address = getattr(read, f"{other}_address", None)
            if address is None:
                continue
            host, _, port = address.removeprefix("dns:///").partition(":")
            assert address.startswith("dns:///"), service
            assert int(port) in {offered["port"] for offered in headless[host]["ports"]}, (service, other)
            assert int(port) == settings[other].port


def test_probes_ask_the_port_that_the_service_listens_on(rendering: Rendering, settings: Mapping[str, ServiceSettings]) -> None:
    for service in set(SERVICES) - {"gateway"}:
        container = container_of(rendering.one("Deployment", service))
        assert container["readinessProbe"]["exec"]["command"][-2:] == ["services.mesh.probe", f"127.0.0.1:{settings[service].port}"]
    paths = {
        kind: container_of(rendering.one("Deployment", "gateway"))[kind]["httpGet"]["path"] for kind in ("livenessProbe", "readinessProbe")
    }
    assert paths == {"livenessProbe": "/healthz", "readinessProbe": "/readyz"}


def test_pods_live_longer_than_their_work_in_hand(rendering: Rendering, settings: Mapping[str, ServiceSettings]) -> None:
    for service, read in settings.items():
        pod = _pod(rendering, service)
        sleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert sleep + read.shutdown_notice_seconds + read.shutdown_grace_seconds < pod["terminationGracePeriodSeconds"], service
    assert _pod(rendering, "gateway")["terminationGracePeriodSeconds"] >= 60
    assert _pod(rendering, "inference")["terminationGracePeriodSeconds"] >= 120


def test_large_numbers_and_lists_arrive_as_they_were_given(
    renderings: Mapping[str, Rendering], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    read = dict(_read(renderings["full"], monkeypatch, tmp_path))
    gateway = read["gateway"].model_dump()
    assert gateway["max_upload_bytes"] == 4294967296
    assert [str(network) for network in gateway["trusted_proxies"]] == ["10.0.0.0/8"]
    assert gateway["openai_models"] == {"whisper-1": "large-v3"}
    assert read["inference"].model_dump()["triton_control_header"] == SecretStr("header=a-random-word")


def test_every_secret_is_made_by_the_chart_or_named_in_its_values(rendering: Rendering) -> None:
    made = {found["metadata"]["name"]: set(found["data"]) for found in rendering.of_kind("Secret")}
    certified = {found["spec"]["secretName"] for found in rendering.of_kind("Certificate")}
    named = set(_words(rendering.values))
    for name, key in _references(rendering):
        if name in made:
            assert key is None or key in made[name], (name, key)
        else:
            assert name in certified | named, name


def _words(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        yield from _words(part)


def _references(rendering: Rendering) -> Iterator[tuple[str, str | None]]:
    """Name of a Secret and key in it, or None for all of it, of everything that a pod mounts or reads."""
    for _, pod in workloads(rendering.documents):
        yield from secret_files(pod["spec"]).values()
        for volume in pod["spec"]["volumes"]:
            if secret := volume.get("secret"):
                yield from ((secret["secretName"], item["key"]) for item in secret.get("items", [{"key": None}]))
        for entry in pod["spec"]["containers"][0].get("env", []):
            if reference := entry.get("valueFrom", {}).get("secretKeyRef"):
                yield reference["name"], reference["key"]


def test_each_service_holds_its_own_keys_only(renderings: Mapping[str, Rendering]) -> None:
    held = {
        component(pod): {item["key"] for volume in pod["spec"]["volumes"] if volume["name"] == "keys" for item in volume["secret"]["items"]}
        for _, pod in workloads(renderings["minimal"].documents)
    }
    assert {part: keys - {"identity.pem"} for part, keys in held.items() if keys} == {
        "gateway": set(),
        "inference": set(),
        "billing": {"pepper"},
        "storage": {"signing-key"},
        "jobs": {"claim-key"},
        "operator": set(),
    }


def test_generated_secrets_differ_each_time_and_are_long(renderings: Mapping[str, Rendering]) -> None:
    secrets = [renderings[name].one("Secret", "keys")["data"] for name in ("minimal", "gpu")]
    for key in ("pepper", "claim-key", "signing-key", "identity.pem"):
        values = {base64.b64decode(data[key]) for data in secrets}
        assert len(values) == 2
        assert min(map(len, values)) >= 64
