"""Secrets are random, stored as a keyed hash, and recognised by it: invariant I-29."""

import re
from pathlib import Path

import pytest

from services.billing import keys


def test_secrets_have_at_least_160_unknown_random_bits() -> None:
    secrets = {keys.new_secret(test=False) for _ in range(1000)}
    assert len(secrets) == 1000
    hidden = keys.RANDOM_CHARACTERS - (keys.SHOWN_CHARACTERS - len(keys.LIVE_MARK))
    assert len(keys.BASE62) ** hidden >= 2**160
    assert all(re.fullmatch(r"sk_live_[0-9A-Za-z]{32}", secret) for secret in secrets)
    assert keys.new_secret(test=True).startswith("sk_test_")


def test_the_hash_depends_on_the_pepper() -> None:
    secret = keys.new_secret(test=False)
    assert keys.digest(b"a" * 32, secret) != keys.digest(b"b" * 32, secret)


@pytest.mark.parametrize(("content", "mode"), [(b"x" * 31, 0o600), (b"x" * 32, 0o604), (None, 0)])
def test_an_unusable_pepper_is_refused(tmp_path: Path, content: bytes | None, mode: int) -> None:
    path = tmp_path / "pepper"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    with pytest.raises(keys.PepperUnusable):
        keys.read_pepper(path)


def test_a_private_pepper_of_32_bytes_is_used(tmp_path: Path) -> None:
    path = tmp_path / "pepper"
    path.write_bytes(b"x" * 32)
    path.chmod(0o600)
    assert keys.read_pepper(path) == b"x" * 32
