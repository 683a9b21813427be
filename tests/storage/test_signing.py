"""Keys of signed URLs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from services.storage.domain import InvalidSignature, Kind
from services.storage.signing import Grant, UrlSigner

OLD, NEW = b"o" * 32, b"n" * 32
NOW = datetime(2026, 1, 1, tzinfo=UTC)
GRANT = Grant("PUT", Kind.MEDIA, "0192f0c1-0000-7000-8000-000000000001", NOW + timedelta(minutes=5), 1000)


def verify(signer: UrlSigner, url: str) -> Grant:
    """What the signer makes of a PUT to the URL."""
    parts = urlsplit(url)
    return signer.verify("PUT", parts.path, parts.query, NOW)


def test_url_carries_its_grant_and_the_base() -> None:
    url = UrlSigner([NEW], "https://data.example/base/").sign(GRANT)
    assert url.startswith("https://data.example/base/media/")
    assert verify(UrlSigner([NEW], ""), url.replace("/base", "")) == GRANT


def test_old_key_verifies_until_it_is_taken_out(tmp_path: Path) -> None:
    file = tmp_path / "signing.key"
    url = UrlSigner([OLD], "http://x").sign(GRANT)
    file.write_bytes(NEW + b"\n" + OLD + b"\n")
    signer = UrlSigner.from_file(file, "http://x")
    assert verify(signer, url) == GRANT
    assert signer.sign(GRANT) == UrlSigner([NEW], "http://x").sign(GRANT)
    file.write_bytes(NEW)
    with pytest.raises(InvalidSignature):
        verify(UrlSigner.from_file(file, "http://x"), url)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"short", NEW + b"\nshort"])
def test_weak_keys_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "signing.key").write_bytes(content)
    with pytest.raises(ValueError, match="at least 32 bytes"):
        UrlSigner.from_file(tmp_path / "signing.key", "http://x")


def test_url_ends_with_its_second() -> None:
    signer = UrlSigner([NEW], "http://x")
    parts = urlsplit(signer.sign(GRANT))
    with pytest.raises(InvalidSignature):
        signer.verify("PUT", parts.path, parts.query, GRANT.expire_time)
