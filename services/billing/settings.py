"""Billing's settings: environment variables STENO_BILLING_*."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.mesh.settings import BusSettings, DatabaseSettings, ServiceSettings, settings_config
from services.mesh.weaknesses import SecretFile


class BillingSettings(ServiceSettings, DatabaseSettings, BusSettings):
    """What billing reads."""

    model_config = settings_config("STENO_BILLING_")

    port: int = Field(7001, ge=0, le=65535, description="Port that the service listens on; 0 takes a free one.")
    database_url: str = Field(
        "sqlite+aiosqlite:///.steno/databases/billing.db",
        description="sqlite+aiosqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE.",
    )
    pepper_file: Annotated[Path, SecretFile(least_bytes=32)] = Field(
        Path(".steno/keys/pepper"),
        description="File with the key of the keyed hash that API keys are stored as: 32 random bytes or more.",
    )
    plans_file: Path | None = Field(None, description="TOML file with the plans; unset means the packaged one.")
    payment_provider: Literal["operator", "stripe"] = Field(
        "operator", description="Who takes payments: operator, by hand and outside of Steno, or stripe, which sells the credit packs."
    )
    stripe_secret_key_file: Annotated[Path | None, SecretFile()] = Field(
        None, description="File with Stripe's secret or restricted key; needed to sell by it."
    )
    stripe_webhook_secret_file: Annotated[Path | None, SecretFile()] = Field(
        None, description="File with the signing secret of Stripe's webhook, or several, one a line; needed to sell by it."
    )
    stripe_url: str = Field("", description="Base URL of Stripe's API; unset means Stripe's own.")
    verify_interval_seconds: float = Field(60.0, gt=0, le=86_400, description="Seconds between two checks of every account.")
    verify_history_seconds: float = Field(
        3600.0, gt=0, le=2_592_000, description="Seconds in which the checks have read all transfers again, those of long ago too."
    )

    @model_validator(mode="after")
    def _stripe_has_its_secrets(self) -> Self:
        if self.payment_provider == "stripe" and not (self.stripe_secret_key_file and self.stripe_webhook_secret_file):
            raise ValueError("payment_provider stripe needs stripe_secret_key_file and stripe_webhook_secret_file")
        return self
