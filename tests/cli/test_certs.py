"""`steno certs dev` makes certificates that services take, and renews them in time."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli import make_app
from services.stack.certificates.folder import IDENTITIES, CertificateFolder, make_certificates


def test_every_identity_gets_a_certificate_that_its_service_can_start_with(tmp_path: Path) -> None:
    out = tmp_path / "certificates"
    told = CliRunner().invoke(make_app(), ["certs", "dev", "--out", str(out), "--host", "jobs.local", "--client", "lab"])
    assert told.exit_code == 0, told.output
    folder = CertificateFolder(out)
    for identity in (*IDENTITIES, "client/lab"):
        assert folder.open(identity).current.identity == identity
        assert stat.S_IMODE(folder.of(identity).key.stat().st_mode) == 0o600
    assert stat.S_IMODE((out / "authority" / "ca.key").stat().st_mode) == 0o600


def test_a_leaf_is_renewed_when_a_third_of_its_time_is_left_and_the_authority_stays(tmp_path: Path) -> None:
    folder, now = CertificateFolder(tmp_path), datetime.now(UTC)
    assert make_certificates(folder, ["jobs"], days=30, hosts=["jobs.local"], now=now) == ["jobs"]
    authority = (tmp_path / "authority" / "ca.crt").read_bytes()
    assert make_certificates(folder, ["jobs"], days=30, now=now + timedelta(days=19)) == []
    assert make_certificates(folder, ["jobs"], days=30, now=now + timedelta(days=21)) == ["jobs"]
    assert (tmp_path / "authority" / "ca.crt").read_bytes() == authority
    # A host that was named once is kept.
    assert make_certificates(folder, ["jobs"], hosts=["jobs.local"], now=now + timedelta(days=21)) == []
    assert make_certificates(folder, ["jobs"], hosts=["other.local"], now=now + timedelta(days=21)) == ["jobs"]


@pytest.mark.parametrize("name", ["../lab", "a/b", "", "lab\n"])
def test_a_client_whose_name_is_no_identity_is_refused(tmp_path: Path, name: str) -> None:
    told = CliRunner().invoke(make_app(), ["certs", "dev", "--out", str(tmp_path / "out"), "--client", name])
    assert told.exit_code != 0
    assert sorted(path.name for path in tmp_path.rglob("lab*")) == []
