"""What there is to back up, and where: by the services' settings, or below the data directory where those say nothing."""

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

import services
from services.mesh.settings import read_settings
from services.stack.data_directory import DataDirectory

# In this order they are dumped where they are not of one database: what a job refers to was there before it.
WITH_DATABASE = ("jobs", "storage", "billing")
_KEYS = ("identity_key", "pepper", "signing_key", "claim_key", "first_workspace")


@dataclass(frozen=True)
class Installation:
    """urls: of each service's database. blobs: the directory of storage, None for a bucket. storage: its settings."""

    data: DataDirectory
    urls: Mapping[str, str]
    blobs: Path | None
    storage: Any

    @property
    def files(self) -> Mapping[str, Path]:
        """The SQLite databases among them, by service."""
        return {service: Path(str(make_url(url).database)) for service, url in self.urls.items() if url.startswith("sqlite")}

    @property
    def servers(self) -> Mapping[str, str]:
        """The Postgres databases among them, by service."""
        return {service: url for service, url in self.urls.items() if not url.startswith("sqlite")}

    @property
    def bucket(self) -> str:
        """Where blobs are that are in no directory."""
        return f"s3://{self.storage.s3_bucket}/{self.storage.s3_prefix}" if self.blobs is None else ""

    @property
    def keys(self) -> Mapping[str, Path]:
        """The secrets of the data directory that are there, by their names below `keys`."""
        found = [getattr(self.data, name) for name in _KEYS]
        return {path.name: path for path in found if path.exists()}

    @property
    def models(self) -> tuple[str, ...]:
        """Installed speech models, by name."""
        found = self.data.models.glob("*/") if self.data.models.is_dir() else ()
        return tuple(sorted(path.name for path in found if not path.name.startswith(".")))


def find_installation(root: Path) -> Installation:
    """As `steno up --data ROOT` would run it with this environment. Exits with status 2 for settings that are wrong."""
    data = DataDirectory(root)
    found = {service: read_settings(_settings_class(service)) for service in WITH_DATABASE}
    urls = {service: _url(service, settings, data) for service, settings in found.items()}
    storage = found["storage"]
    folder = Path(storage.blob_directory) if "blob_directory" in storage.model_fields_set else data.blobs
    return Installation(data, urls, None if storage.blob_store == "s3" else folder, storage)


def _url(service: str, settings: Any, data: DataDirectory) -> str:
    return str(settings.database_url) if "database_url" in settings.model_fields_set else data.database_url(service)


def _settings_class(service: str) -> Any:
    return getattr(importlib.import_module(f"services.{service}.settings"), f"{service.capitalize()}Settings")


def scripts_of(service: str) -> Path:
    """The folder with a service's migrations."""
    return Path(services.__file__).parent / service / "migrations"


def objects_of(rows: "list[tuple[str, int]]") -> bytes:
    """A line for each blob that the rows of storage name: key and size."""
    return b"".join(json.dumps({"key": key, "size_bytes": size}).encode() + b"\n" for key, size in sorted(rows))
