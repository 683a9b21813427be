"""The issuers file says who is trusted, or why it cannot be read."""

from pathlib import Path

import pytest

from services.gateway.identity.issuers import IssuersInvalid, read_issuers
from services.mesh.ids import new_id

GOOD = 'issuer = "https://id.example.com"\naudiences = ["steno"]\n'


def write(folder: Path, *tables: str) -> Path:
    path = folder / "issuers.toml"
    path.write_text("".join(f"[[issuer]]\n{table}\n" for table in tables))
    return path


def test_no_file_trusts_nobody() -> None:
    assert read_issuers(None) == []


def test_defaults_are_the_strict_ones(tmp_path: Path) -> None:
    (issuer,) = read_issuers(write(tmp_path, GOOD))
    assert issuer.algorithms == ["RS256", "ES256"]
    assert issuer.require_email_verified
    assert not issuer.allow_other_audiences
    assert not issuer.allow_plain_http
    assert issuer.role is None


def test_secret_is_read_from_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "jwt-secret").write_bytes(b"s" * 32 + b"\n")
    (issuer,) = read_issuers(write(tmp_path, GOOD + 'algorithms = ["HS256"]\nsecret_file = "jwt-secret"'))
    assert issuer.read_secret() == b"s" * 32


@pytest.mark.parametrize("content", [None, b"short", b"s" * 5000])
def test_secret_that_is_missing_short_or_long_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "jwt-secret").write_bytes(content)
    (issuer,) = read_issuers(write(tmp_path, GOOD + 'algorithms = ["HS256"]\nsecret_file = "jwt-secret"'))
    with pytest.raises(IssuersInvalid, match=r"secret_file of https://id\.example\.com"):
        issuer.read_secret()


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ('audiences = ["steno"]', "issuer.0.issuer"),
        ('issuer = "https://id.example.com"', "issuer.0.audiences"),
        ('issuer = "https://id.example.com"\naudiences = []', "issuer.0.audiences"),
        (GOOD + 'algorithms = ["none"]', "issuer.0.algorithms"),
        (GOOD + "algorithms = []", "issuer.0.algorithms"),
        (GOOD + 'algorithms = ["HS256"]', "secret_file"),
        (GOOD + 'algorithms = ["RS256", "HS256"]\nsecret_file = "s"', "secret_file"),
        (GOOD + 'secret_file = "s"', "secret_file"),
        (GOOD + 'algorithms = ["HS256"]\nsecret_file = "s"\njwks_url = "https://id.example.com/keys"', "jwks_url"),
        (GOOD + 'jwks_url = "http://id.example.com/keys"', "https"),
        (GOOD + 'jwks_url = "file:///keys.json"\nallow_plain_http = true', "https"),
        ('issuer = "http://id.example.com"\naudiences = ["steno"]', "https"),
        ('issuer = "no address"\naudiences = ["steno"]', "https"),
        (GOOD + 'role = "user"', "workspace_id"),
        (GOOD + f'workspace_id = "{new_id()}"\nrole = "admin"', "issuer.0.role"),
        (GOOD + 'workspace_id = "mine"', "workspace"),
        (GOOD + 'jwks_uri = "https://id.example.com/keys"', "issuer.0.jwks_uri"),
    ],
)
def test_problem_is_named(tmp_path: Path, table: str, problem: str) -> None:
    with pytest.raises(IssuersInvalid, match=problem):
        read_issuers(write(tmp_path, table))


def test_every_problem_is_reported_together(tmp_path: Path) -> None:
    with pytest.raises(IssuersInvalid) as found:
        read_issuers(write(tmp_path, 'audiences = ["steno"]', 'issuer = "https://id.example.com"'))
    assert "issuer.0.issuer" in str(found.value)
    assert "issuer.1.audiences" in str(found.value)


def test_issuer_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IssuersInvalid, match="twice"):
        read_issuers(write(tmp_path, GOOD, GOOD))


@pytest.mark.parametrize("content", [b"[[issuer]", b"\xff", None])
def test_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "issuers.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(IssuersInvalid, match=r"issuers\.toml"):
        read_issuers(path)
