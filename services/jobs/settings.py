"""Settings of jobs."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field

from services.jobs.domain import Policy
from services.mesh.egress.settings import NetworkPolicySettings
from services.mesh.settings import BusSettings, DatabaseSettings, ServiceSettings, settings_config
from services.mesh.weaknesses import SecretFile


class JobsSettings(ServiceSettings, DatabaseSettings, BusSettings, NetworkPolicySettings):
    """Read from STENO_JOBS_*."""

    model_config = settings_config("STENO_JOBS_")

    port: int = Field(7003, ge=0, le=65535, description="Port that the service listens on; 0 takes a free one.")
    database_url: str = Field("sqlite+aiosqlite:///.steno/databases/jobs.db", description="Where jobs are kept, as an SQLAlchemy URL.")
    billing_address: str = Field("127.0.0.1:7001", description="host:port of billing.")
    storage_address: str = Field("127.0.0.1:7002", description="host:port of storage.")

    claim_key_file: Annotated[Path, SecretFile(least_bytes=32)] = Field(
        Path(".steno/keys/claim"), description="File with the key that claim tokens are made with: 32 random bytes or more."
    )
    lease_seconds: float = Field(30.0, gt=0, description="Seconds that a worker holds a job without a sign of life.")
    max_attempts: int = Field(5, ge=1, description="Claims without a new window after which a job fails.")
    max_claims: int = Field(1000, ge=1, description="Claims in all, those given back included, after which a job fails.")
    retry_delay_seconds: float = Field(2.0, ge=0, description="Seconds before the second attempt; doubles with each.")
    max_retry_delay_seconds: float = Field(60.0, ge=0, description="Most seconds between two attempts.")
    dispatch_window: int = Field(16, ge=1, description="Jobs handed out that no worker has taken yet, at most.")
    dispatch_interval_seconds: float = Field(1.0, gt=0, description="Seconds between looks for waiting jobs, at most.")
    sweep_interval_seconds: float = Field(2.0, gt=0, description="Seconds between looks for lost leases and lost work.")
    lost_dispatch_seconds: float = Field(5.0, gt=0, description="Seconds after which a job is handed out again if the queue is empty.")
    stale_dispatch_seconds: float = Field(300.0, gt=0, description="Seconds after which a job is handed out again in any case.")
    watch_interval_seconds: float = Field(1.0, gt=0, description="Seconds between looks for what other replicas changed in watched jobs.")
    watch_limit: int = Field(10_000, ge=1, description="Watched jobs at one time, at most.")
    reserve_seconds: float = Field(20.0, gt=0, description="Seconds from hold to stored job, at most; below orphan_hold_seconds.")
    reconcile_interval_seconds: float = Field(30.0, gt=0, description="Seconds between comparisons with billing's open holds.")
    open_hold_seconds: float = Field(60.0, ge=0, description="Age in seconds from which an open hold is compared with its job.")
    orphan_hold_seconds: float = Field(300.0, ge=0, description="Age in seconds from which an open hold without a job is given back.")
    cleanup_interval_seconds: float = Field(5.0, gt=0, description="Seconds between tries to remove from storage what must go.")
    orphan_media_interval_seconds: float = Field(600.0, gt=0, description="Seconds between looks for media that no job was made from.")
    orphan_media_seconds: float = Field(
        7200.0, ge=5400, description="Age in seconds from which media without a job is removed; above the longest upload with its probe."
    )
    fetch_slots: int = Field(4, ge=1, le=64, description="Submitted URLs that this process has fetched at one time.")
    fetch_interval_seconds: float = Field(1.0, gt=0, description="Seconds between looks for submitted URLs to fetch, at most.")
    fetch_seconds: float = Field(3600.0, gt=0, le=7200, description="Seconds to wait for storage to fetch and probe one submitted URL.")
    upload_seconds: float = Field(
        7200.0,
        gt=0,
        le=7200,
        description="Seconds to complete an announced upload in; below storage's abandoned_seconds.",
    )
    upload_interval_seconds: float = Field(30.0, gt=0, description="Seconds between looks for announced uploads that never came.")
    retention_interval_seconds: float = Field(60.0, gt=0, description="Seconds between looks for audio that was kept long enough.")
    tidy_interval_seconds: float = Field(30.0, gt=0, description="Seconds between foldings of the tallies.")
    tombstone_days: int = Field(30, ge=8, description="Days for which a removed job's ending is remembered; longer than events are kept.")
    batch_size: int = Field(100, ge=1, le=1000, description="Rows that one turn of a worker takes at most.")
    event_concurrency: int = Field(16, ge=1, description="Events handled at one time.")

    def policy(self) -> Policy:
        """What the use cases go by."""
        return Policy(
            lease=timedelta(seconds=self.lease_seconds),
            max_attempts=self.max_attempts,
            max_claims=self.max_claims,
            retry_delay=timedelta(seconds=self.retry_delay_seconds),
            max_retry_delay=timedelta(seconds=self.max_retry_delay_seconds),
            dispatch_window=self.dispatch_window,
            lost_dispatch_age=timedelta(seconds=self.lost_dispatch_seconds),
            stale_dispatch_age=timedelta(seconds=self.stale_dispatch_seconds),
            open_hold_age=timedelta(seconds=self.open_hold_seconds),
            orphan_hold_age=timedelta(seconds=self.orphan_hold_seconds),
            orphan_media_age=timedelta(seconds=self.orphan_media_seconds),
            fetch_deadline=timedelta(seconds=self.fetch_seconds),
            upload_age=timedelta(seconds=self.upload_seconds),
            tombstone_age=timedelta(days=self.tombstone_days),
            batch_size=self.batch_size,
        )
