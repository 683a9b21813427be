"""The production profile refuses every weak setting by name, all of them together, and nothing else."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import BaseSettings

from services.billing.settings import BillingSettings
from services.gateway.settings import GatewaySettings
from services.inference.settings import InferenceSettings
from services.jobs.settings import JobsSettings
from services.mesh.identity import write_new_key
from services.mesh.production import ask_servers, inquiries, require_production, standing_weaknesses
from services.mesh.settings import ServiceSettings, UnusableSettings
from services.mesh.weaknesses import SecretFile, Web, marked
from services.storage.settings import StorageSettings
from tests.mesh.test_durability import nats_monitor
from tests.servers import free_port

_REPOSITORY = Path(__file__).parents[2]
_SERVICES: tuple[type[ServiceSettings], ...] = (BillingSettings, StorageSettings, JobsSettings, InferenceSettings, GatewaySettings)
_LIMIT_SECONDS = 60
Sound = Callable[..., ServiceSettings]


@pytest.fixture
def sound(tmp_path: Path) -> Sound:
    """Makes settings of a service that production accepts, but for what a test changes."""
    identity, tls_key = tmp_path / "identity.pem", tmp_path / "tls.key"
    write_new_key(identity)
    fields: dict[str, Any] = {
        "profile": "production",
        "identity_key_file": identity,
        "nats_monitor_url": "http://127.0.0.1:8222",
        "tls_certificate_file": tmp_path / "tls.crt",
        "tls_key_file": tls_key,
        "tls_authority_file": tmp_path / "ca.crt",
        "database_url": f"sqlite+aiosqlite:///{tmp_path}/database.db",
        "storage_data_url": "https://storage.example:7012",
    }
    for name, file in (
        ("pepper_file", "pepper"),
        ("claim_key_file", "claim"),
        ("signing_key_file", "signing"),
        ("tls_key_file", "tls.key"),
    ):
        write_secret(tmp_path / file, os.urandom(32).hex())
        fields[name] = tmp_path / file

    def make(settings_class: type[ServiceSettings], **changed: Any) -> ServiceSettings:
        return settings_class(**{**fields, **changed})

    return make


def write_secret(path: Path, text: str, mode: int = 0o600) -> Path:
    """A file with a secret."""
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("settings_class", _SERVICES)
def test_sound_settings_are_accepted(settings_class: type[ServiceSettings], sound: Sound) -> None:
    assert standing_weaknesses(sound(settings_class)) == []


_WEAK: tuple[tuple[type[ServiceSettings], str, object, str], ...] = (
    (BillingSettings, "nats_monitor_url", "", "is not set"),
    (BillingSettings, "database_url", "postgresql+psycopg://steno:x9f@db.example/steno", "plain text"),
    (BillingSettings, "database_url", "postgresql+psycopg://steno:x9f@/steno?host=/run/postgresql,db.example", "plain text"),
    (BillingSettings, "database_url", "postgresql+psycopg://steno:x9f@db.example/steno?sslmode=prefer", "plain text"),
    (BillingSettings, "database_url", "postgresql+psycopg://steno:secret@127.0.0.1/steno", "password out of an example"),
    (StorageSettings, "s3_secret_access_key", "minioadmin", "password out of an example"),
    (StorageSettings, "s3_endpoint", "http://s3.example:9000", "plain text"),
    (StorageSettings, "data_url", "http://storage.example:7012", "plain text"),
    (GatewaySettings, "storage_data_url", "http://storage.example:7012", "plain text"),
    (GatewaySettings, "summary_chat_url", "http://chat.example/v1", "plain text"),
    (GatewaySettings, "egress_allowed_networks", "0.0.0.0/0", "opens 0.0.0.0/0"),
    (StorageSettings, "egress_allowed_networks", "10.0.0.0/8,::/0", "opens ::/0"),
    (JobsSettings, "egress_allowed_networks", "169.254.169.254/32", "metadata"),
    (JobsSettings, "egress_allowed_networks", "127.0.0.1/32", "this machine"),
)


@pytest.mark.parametrize(("settings_class", "field", "value", "told"), _WEAK)
def test_a_weak_setting_is_named_and_nothing_else(
    settings_class: type[ServiceSettings], field: str, value: object, told: str, sound: Sound
) -> None:
    [weakness] = standing_weaknesses(sound(settings_class, **{field: value}))
    assert weakness.sentence.startswith(f"{settings_class.model_config.get('env_prefix')}{field.upper()}")
    assert told in weakness.sentence


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://steno@/steno?host=/run/postgresql",
        "postgresql+psycopg://steno@/steno",
        "postgresql+psycopg://steno:x9f@[::1]:5432/steno",
        "postgresql+psycopg://steno:x9f@db.example/steno?sslmode=verify-full",
    ],
)
def test_what_stays_on_the_machine_or_is_encrypted_is_no_plain_text(url: str, sound: Sound) -> None:
    assert standing_weaknesses(sound(BillingSettings, database_url=url)) == []


def test_without_certificates_every_service_is_refused(sound: Sound) -> None:
    for settings_class in _SERVICES:
        bare = sound(settings_class, tls_certificate_file=None, tls_key_file=None, tls_authority_file=None)
        assert [weakness.risk for weakness in standing_weaknesses(bare)] == ["plaintext_services"], settings_class


def test_a_triton_in_plain_text_is_refused(sound: Sound) -> None:
    bare = sound(
        InferenceSettings,
        engine="triton",
        triton_address="triton.example:8001",
        tls_certificate_file=None,
        tls_key_file=None,
        tls_authority_file=None,
    )
    assert any("Triton" in weakness.sentence for weakness in standing_weaknesses(bare))


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [
        ("ab" * 32, 0o600, "is not random"),
        ("k3y", 0o600, "fewer than 32 bytes"),
        ("0123456789abcdef" * 4, 0o644, "open to every user"),
        (None, 0o600, "cannot be read"),
    ],
)
def test_a_key_that_is_none_is_refused(text: str | None, mode: int, told: str, sound: Sound, tmp_path: Path) -> None:
    path = tmp_path / "weak"
    if text is not None:
        write_secret(path, text, mode)
    for settings_class, field in (
        (BillingSettings, "pepper_file"),
        (JobsSettings, "claim_key_file"),
        (StorageSettings, "signing_key_file"),
    ):
        [weakness] = standing_weaknesses(sound(settings_class, **{field: path}))
        assert told in weakness.sentence
        assert field.upper() in weakness.sentence


def test_every_line_of_a_file_with_several_keys_is_judged(sound: Sound, tmp_path: Path) -> None:
    path = write_secret(tmp_path / "keys", f"{os.urandom(32).hex()}\nshort\n")
    [weakness] = standing_weaknesses(sound(StorageSettings, signing_key_file=path))
    assert "fewer than 32 bytes" in weakness.sentence


def test_an_identity_key_of_another_kind_is_refused(sound: Sound, tmp_path: Path) -> None:
    [weakness] = standing_weaknesses(sound(JobsSettings, identity_key_file=write_secret(tmp_path / "other", "no key")))
    assert "no Ed25519 private key" in weakness.sentence


@pytest.mark.parametrize("settings_class", _SERVICES)
def test_every_setting_that_names_a_secret_or_a_server_is_marked(settings_class: type[ServiceSettings], sound: Sound) -> None:
    settings = sound(settings_class)
    prefix = str(settings_class.model_config.get("env_prefix"))
    secrets = {name.removeprefix(prefix).lower() for name, *_ in marked(settings, SecretFile)}
    assert {name for name in settings_class.model_fields if name.endswith(("key_file", "secret_file", "pepper_file"))} == secrets
    judged = {"nats_url", "nats_monitor_url", "database_url", "data_url", "storage_data_url"}
    # A path of the gateway's own, and a server of the tests in place of Stripe's.
    harmless = {"upgrade_url", "stripe_url"}
    urls = {name for name in settings_class.model_fields if name.endswith(("_url", "_endpoint"))}
    assert urls - judged - harmless == {name.removeprefix(prefix).lower() for name, *_ in marked(settings, Web)}


async def test_everything_is_told_together(sound: Sound, tmp_path: Path) -> None:
    async with nats_monitor(tmp_path, {}) as monitor:
        weak = sound(
            BillingSettings,
            tls_certificate_file=None,
            tls_key_file=None,
            tls_authority_file=None,
            pepper_file=write_secret(tmp_path / "weak", "k3y"),
            nats_monitor_url=monitor,
            database_url=f"sqlite+aiosqlite:///{tmp_path}/jobs.db",
        )
        with pytest.raises(UnusableSettings) as refused:
            await require_production(weak, asyncio.Event())
    told = refused.value.args
    assert len(told) == 3
    assert [name for name in ("TLS_CERTIFICATE_FILE", "PEPPER_FILE", "syncs every 120 s") if not any(name in one for one in told)] == []


async def test_an_accepted_risk_is_no_refusal_and_others_still_are(sound: Sound, tmp_path: Path) -> None:
    async with nats_monitor(tmp_path, {}) as monitor:
        await require_production(sound(BillingSettings, nats_monitor_url=monitor, accepted_risks=("bus_durability",)), asyncio.Event())
        with pytest.raises(UnusableSettings, match="syncs every"):
            await require_production(sound(BillingSettings, nats_monitor_url=monitor, accepted_risks=("open_egress",)), asyncio.Event())


async def test_a_server_that_starts_later_is_waited_for(sound: Sound, tmp_path: Path) -> None:
    port = free_port()
    settings = sound(GatewaySettings, nats_monitor_url=f"http://127.0.0.1:{port}")
    asking = asyncio.create_task(require_production(settings, asyncio.Event()))
    await asyncio.wait({asking}, timeout=0.3)
    assert not asking.done()
    async with nats_monitor(tmp_path, {}, port):
        with pytest.raises(UnusableSettings, match="syncs every"):
            await asking


async def test_a_silent_server_does_not_hide_what_is_wrong_with_others(sound: Sound) -> None:
    silent = inquiries(sound(GatewaySettings, nats_monitor_url=f"http://127.0.0.1:{free_port()}"))
    [weakness] = await ask_servers(silent, asyncio.Event(), patience_seconds=0.2)
    assert "STENO_GATEWAY_NATS_MONITOR_URL: the server does not answer" in weakness.sentence


def test_a_service_that_waits_for_its_servers_stops_when_told(sound: Sound, tmp_path: Path) -> None:
    environment = {f"STENO_GATEWAY_{name.upper()}": str(value) for name, value in _given(sound(GatewaySettings)).items()}
    environment["STENO_GATEWAY_NATS_MONITOR_URL"] = f"http://127.0.0.1:{free_port()}"
    with subprocess.Popen(
        [sys.executable, "-m", "services.gateway"],
        env={**os.environ, **environment},
        cwd=_REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "does not answer yet" in line:
                process.send_signal(signal.SIGTERM)
                break
        assert process.wait(timeout=_LIMIT_SECONDS) == 0


def _given(settings: BaseSettings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in settings.model_fields_set}
