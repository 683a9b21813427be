"""`steno secrets init` makes the keys of a mesh once, for its owner alone, and every service takes them."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.billing.keys import read_pepper
from services.cli import make_app
from services.jobs.claim_key import read_claim_key
from services.mesh.identity import load_key
from services.storage.signing import UrlSigner


def test_keys_are_made_once_and_services_take_them(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    assert CliRunner().invoke(make_app(), ["secrets", "init", "--out", str(folder)]).exit_code == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert load_key(folder / "identity.pem").is_private
    assert len({read_pepper(folder / "pepper"), read_claim_key(folder / "claim-key").secret}) == 2
    assert UrlSigner.from_file(folder / "signing-key", "http://storage:7012")
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    again = CliRunner().invoke(make_app(), ["secrets", "init", "--out", str(folder)])
    assert again.output.count("was there") == len(before) == 4
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Exception, match="cannot write to"):
        CliRunner().invoke(make_app(), ["secrets", "init", "--out", str(tmp_path / "file" / "keys")], catch_exceptions=False)
