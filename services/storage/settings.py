"""What storage reads from its environment."""

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from services.mesh.egress.settings import EgressSettings
from services.mesh.settings import BusSettings, DatabaseSettings, ServiceSettings, settings_config
from services.mesh.weaknesses import SecretFile, Web
from services.storage.datasets import FORM_LIFETIME

_MEBIBYTE = 1024 * 1024
_PROBE_MARGIN_SECONDS = 400.0


class StorageSettings(ServiceSettings, DatabaseSettings, BusSettings, EgressSettings):
    """Settings of storage."""

    model_config = settings_config("STENO_STORAGE_")

    port: int = Field(7002, ge=0, le=65535, description="Port that the service listens on; 0 takes a free one.")
    database_url: str = Field(
        "sqlite+aiosqlite:///.steno/databases/storage.db", description="Database of storage: a SQLite file or Postgres."
    )
    billing_address: str = Field("127.0.0.1:7001", description="host:port of the billing service, which resolves API keys.")
    data_port: int = Field(7012, ge=0, le=65535, description="Port of the data plane, on `host`; 0 takes a free one.")
    data_url: str = Field("", description="Base of the data plane's URLs as its clients reach it; empty means http://<host>:<data_port>.")
    signing_key_file: Annotated[Path, SecretFile(least_bytes=32, each_line=True)] = Field(
        Path(".steno/keys/signing"),
        description="Keys that sign data-plane URLs, one a line of at least 32 bytes, the newest first.",
    )
    blob_store: Literal["directory", "s3"] = Field("directory", description="Where bytes are kept.")
    blob_directory: Path = Field(Path(".steno/blobs"), description="Directory of the blobs, or of the spool files when they are in S3.")
    s3_bucket: str = Field("", description="Bucket of the blobs.")
    s3_prefix: str = Field("objects/", description="What the names of all blobs in the bucket begin with.")
    s3_region: str = Field("us-east-1", description="Region of the bucket.")
    s3_endpoint: Annotated[str, Web()] = Field("", description="URL of an S3-compatible server; empty means the region's own.")
    s3_access_key_id: str = Field("", description="Access key; empty takes the credentials of the environment or the machine.")
    s3_secret_access_key: SecretStr = Field(SecretStr(""), description="Secret of the access key.")
    s3_timeout_seconds: float = Field(10.0, gt=0, le=300, description="Seconds that the bucket may be silent.")
    s3_presigned_downloads: bool = Field(True, description="Hand out the bucket's own URLs; false serves downloads through the data plane.")
    max_media_bytes: int = Field(2048 * _MEBIBYTE, gt=0, description="The most bytes of one media.")
    max_artefact_bytes: int = Field(512 * _MEBIBYTE, gt=0, description="The most bytes of one artefact.")
    max_duration_ms: int = Field(10 * 3_600_000, gt=0, description="The longest audio, in milliseconds.")
    reserve_bytes: int = Field(64 * _MEBIBYTE, ge=0, description="Bytes of the disk that uploads leave free.")
    max_transfers: int = Field(256, gt=0, description="Uploads and downloads at the same time; more are told to retry.")
    concurrent_probes: int = Field(2, gt=0, le=64, description="Media examined at the same time.")
    concurrent_preparations: int = Field(
        1, ge=0, le=16, description="Audio files of datasets prepared for training at the same time; 0 leaves them to other replicas."
    )
    prepare_seconds: float = Field(5.0, gt=0, le=60, description="Seconds between looks for audio to prepare.")
    upload_url_seconds: float = Field(300.0, gt=0, le=1800, description="Seconds within which an announced upload has to start.")
    upload_seconds: float = Field(2700.0, gt=0, le=3000, description="Seconds that one upload may take.")
    idle_seconds: float = Field(30.0, gt=0, le=300, description="Seconds of silence that end an upload.")
    fetch_slots: int = Field(4, gt=0, le=64, description="URLs fetched at the same time.")
    fetch_seconds: float = Field(1800.0, gt=0, le=3000, description="Seconds that fetching one URL may take, redirects included.")
    fetch_idle_seconds: float = Field(20.0, gt=0, le=300, description="Seconds of silence that end a fetch.")
    fetch_bytes_per_second: int = Field(
        2048, ge=0, description="Bytes a second below which a fetch is given up, over 20 seconds; 0 waits for any."
    )
    site_seconds: float = Field(60.0, gt=0, le=300, description="Seconds that reading a YouTube page may take.")
    abandoned_seconds: float = Field(
        9000.0,
        ge=3600,
        description="Seconds of nothing happening after which an uncommitted upload, and bytes that nothing speaks of, are removed.",
    )
    reap_seconds: float = Field(5.0, gt=0, le=60, description="Seconds between looks for deleted bytes to remove.")
    sweep_seconds: float = Field(600.0, gt=0, description="Seconds between looks for what crashes left behind.")
    health_seconds: float = Field(5.0, gt=0, le=6, description="Seconds between checks of the database and the store.")

    def s3_signing_credentials(self) -> tuple[str, str, str] | None:
        """Access key, secret and session token that forms for the bucket are signed with; None where a machine's role has them."""
        if self.s3_access_key_id:
            return self.s3_access_key_id, self.s3_secret_access_key.get_secret_value(), ""
        found = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
        return (found[0], found[1], os.environ.get("AWS_SESSION_TOKEN", "")) if found[0] and found[1] else None

    @model_validator(mode="after")
    def _nothing_in_hand_is_abandoned(self) -> Self:
        form_seconds = FORM_LIFETIME.total_seconds() + self.upload_seconds
        longest_seconds = max(self.upload_url_seconds + self.upload_seconds, form_seconds, self.site_seconds + self.fetch_seconds)
        if self.abandoned_seconds < longest_seconds + _PROBE_MARGIN_SECONDS:
            raise ValueError(
                f"abandoned_seconds is at least {longest_seconds + _PROBE_MARGIN_SECONDS:g}: the longest upload or fetch, and its probe"
            )
        return self

    def plain_text(self) -> list[str]:
        """With the data plane's URLs."""
        plain = self.data_url.startswith("http://")
        return [*super().plain_text(), *(["STENO_STORAGE_DATA_URL is not https: recordings go in plain text"] if plain else [])]
