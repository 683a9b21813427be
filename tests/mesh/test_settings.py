"""Settings come from the environment, or from files named like its variables."""

from pathlib import Path

import pytest

from services.billing.settings import BillingSettings
from services.mesh.settings import SECRETS_VARIABLE, read_settings
from services.storage.settings import StorageSettings

URL = "postgresql+psycopg://steno:8fT2@postgres/steno"


def test_secrets_come_from_files_and_the_environment_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "STENO_STORAGE_S3_SECRET_ACCESS_KEY").write_text("from a file\n")
    (tmp_path / "STENO_STORAGE_DATABASE_URL").write_text(URL)
    (tmp_path / "steno_storage_s3_bucket").write_text("of the file")
    monkeypatch.setenv(SECRETS_VARIABLE, str(tmp_path))
    monkeypatch.setenv("STENO_STORAGE_S3_BUCKET", "of the environment")
    settings = read_settings(StorageSettings)
    assert settings.s3_secret_access_key.get_secret_value() == "from a file"
    assert (settings.database_url, settings.s3_bucket) == (URL, "of the environment")


def test_folder_of_secrets_that_is_missing_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(SECRETS_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit, match="2"):
        read_settings(BillingSettings)
    assert "nowhere is no folder" in capsys.readouterr().err


def test_bad_file_is_told_like_a_bad_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "STENO_BILLING_PORT").write_text("seventy")
    monkeypatch.setenv(SECRETS_VARIABLE, str(tmp_path))
    with pytest.raises(SystemExit, match="2"):
        read_settings(BillingSettings)
    assert "STENO_BILLING_PORT: Input should be a valid integer" in capsys.readouterr().err
