"""Billing's settings: environment variables STENO_BILLING_*."""

from pathlib import Path

from pydantic import Field

from services.mesh.settings import BusSettings, DatabaseSettings, ServiceSettings, settings_config


class BillingSettings(ServiceSettings, DatabaseSettings, BusSettings):
    """What billing reads."""

    model_config = settings_config("STENO_BILLING_")

    port: int = Field(7001, ge=0, le=65535, description="Port that the service listens on; 0 takes a free one.")
    database_url: str = Field(
        "sqlite+aiosqlite:///.steno/databases/billing.db",
        description="sqlite+aiosqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE.",
    )
    pepper_file: Path = Field(
        Path(".steno/keys/pepper"),
        description="File with the key of the keyed hash that API keys are stored as: 32 random bytes or more.",
    )
    plans_file: Path | None = Field(None, description="TOML file with the plans; unset means the packaged one.")
    verify_interval_seconds: float = Field(60.0, gt=0, le=86_400, description="Seconds between two checks of the whole ledger.")
