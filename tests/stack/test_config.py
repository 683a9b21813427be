"""`steno config check` shows what the services would read, tells every problem at once and no secret."""

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.cli import main
from services.stack.config.classes import SERVICES, all_variables
from tests.mesh.test_durability import nats_monitor

Check = Callable[..., tuple[int, str]]
_PASSWORD = "c4nary-of-the-database"


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Check:
    """Runs the command with these variables and no others of Steno's; returns exit status and what it prints."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("STENO_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str, **variables: str) -> tuple[int, str]:
        with monkeypatch.context() as within:
            for name, value in variables.items():
                within.setenv(name, value)
            within.setattr(sys, "argv", ["steno", "config", "check", *arguments])
            with pytest.raises(SystemExit) as end:
                main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out + captured.err

    return run


def _line(text: str, name: str) -> list[str]:
    return next(line.split(maxsplit=2) for line in text.splitlines() if line.startswith(f"  {name} "))


def test_every_setting_of_every_service_is_shown_with_where_it_came_from(check: Check) -> None:
    status, text = check(STENO_JOBS_PORT="7033")
    assert (status, text.splitlines()[-1]) == (0, "no problems")
    assert [name for service in SERVICES for name in all_variables(service)[:1] if f"  {name} " not in text] == []
    assert _line(text, "STENO_JOBS_PORT")[1:] == ["environment", "7033"]
    assert _line(text, "STENO_BILLING_PORT")[1:] == ["default", "7001"]


def test_secrets_are_shown_as_fingerprints_alone(check: Check, tmp_path: Path) -> None:
    secret = "canary-of-the-bucket"
    (tmp_path / "signing").write_text("canary-of-the-urls")
    (tmp_path / "signing").chmod(0o600)
    _, text = check(
        "storage",
        "--production",
        "--offline",
        STENO_STORAGE_S3_SECRET_ACCESS_KEY=secret,
        STENO_STORAGE_SIGNING_KEY_FILE=str(tmp_path / "signing"),
        STENO_STORAGE_DATABASE_URL=f"postgresql+psycopg://steno:{_PASSWORD}@db.example/steno?sslpassword={_PASSWORD}",
        STENO_STORAGE_NATS_URL="nats://canary-token@a:4222,nats://user:canary-word@b:4222",
    )
    assert "canary" not in text.replace(str(tmp_path), "")
    for hidden in (secret, _PASSWORD, "canary-of-the-urls", "canary-token", "canary-word"):
        assert f"sha256:{hashlib.sha256(hidden.encode()).hexdigest()[:12]}" in text, hidden


def test_a_misspelled_name_is_told_with_the_right_one(check: Check) -> None:
    status, text = check("billing", STENO_BILLING_PEPPER_FLIE="x", STENO_BILING_PORT="1", STENO_JOBS_NOTHING="x", STENO_URL="http://x")
    assert status == 2
    assert "STENO_BILLING_PEPPER_FLIE is no setting; did you mean STENO_BILLING_PEPPER_FILE?" in text
    assert "STENO_BILING_PORT is no setting; did you mean STENO_BILLING_PORT?" in text
    assert text.splitlines()[-1] == "2 problems"


def test_links_of_kubernetes_are_told_once_with_the_cure(check: Check) -> None:
    status, text = check("jobs", STENO_JOBS_SERVICE_HOST="10.0.0.1", STENO_JOBS_PORT_7003_TCP="tcp://10.0.0.1:7003")
    assert status == 2
    assert text.count("enableServiceLinks: false") == 1


def test_values_that_cannot_be_read_do_not_hide_each_other_or_the_rest(check: Check) -> None:
    status, text = check("jobs", "billing", STENO_JOBS_PORT="many", STENO_JOBS_LEASE_SECONDS="-1", STENO_BILLING_PORT="70000")
    assert status == 2
    names = {line.split()[1].rstrip(":") for line in text.splitlines() if line.startswith("PROBLEM")}
    assert names == {"STENO_JOBS_PORT", "STENO_JOBS_LEASE_SECONDS", "STENO_BILLING_PORT"}
    assert _line(text, "STENO_JOBS_PORT")[1:] == ["environment", "many"]


def test_files_of_the_folder_of_secrets_are_read(check: Check, tmp_path: Path) -> None:
    (tmp_path / "STENO_JOBS_DATABASE_URL").write_text(f"postgresql+psycopg://steno:{_PASSWORD}@db/steno\n")
    _, text = check("jobs", STENO_SECRETS_DIRECTORY=str(tmp_path))
    name, source, value = _line(text, "STENO_JOBS_DATABASE_URL")
    assert (name, source) == ("STENO_JOBS_DATABASE_URL", "file")
    assert value.endswith("@db/steno")
    assert _PASSWORD not in text


async def test_production_is_judged_with_its_servers_and_as_json_too(check: Check, tmp_path: Path) -> None:
    async with nats_monitor(tmp_path, {}) as monitor:
        variables = {"STENO_JOBS_NATS_MONITOR_URL": monitor, "STENO_JOBS_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/new.db"}
        status, text = await asyncio.to_thread(check, "jobs", "--production", "--json", **variables)
    assert status == 2
    problems = "\n".join(json.loads(text)["problems"])
    assert [
        name for name in ("TLS_CERTIFICATE_FILE", "IDENTITY_KEY_FILE", "CLAIM_KEY_FILE", "syncs every 120 s") if name not in problems
    ] == []
    assert not (tmp_path / "new.db").exists()
