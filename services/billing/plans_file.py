"""What a plans file may say; the comments of `plans.toml` explain every field."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.billing.domain import MS_PER_MINUTE, UNLIMITED_MS
from steno.billing.v1.payments_service_pb2 import CreditPack
from steno.billing.v1.workspace_pb2 import Plan, RateClass

BYTES_PER_MEBIBYTE = 1 << 20
Minutes = Annotated[int, Field(ge=0, le=10**9)]
# Gateways share the time of every request of the last minute in one value of the bus, and it holds no more of them.
PerMinute = Annotated[int, Field(ge=0, le=2000)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Title = Annotated[str, Field(min_length=1, max_length=100)]
Contract = Literal["native", "icana", "actionvibe", "relay", "openai"]
FREE, GUEST, STANDARD = "free", "guest", "standard"


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RateEntry(_Entry):
    """Requests within any minute in one contract; 0 means no limit."""

    uploads_per_minute: PerMinute = 0
    reads_per_minute: PerMinute = 0
    tokens_per_minute: PerMinute = 0


RateClassEntry = dict[Contract, RateEntry]
# Of files that have no rate classes yet: the numbers that the two contracts publish.
PUBLISHED: RateClassEntry = {
    "icana": RateEntry(uploads_per_minute=10, reads_per_minute=60),
    "actionvibe": RateEntry(uploads_per_minute=10, reads_per_minute=100, tokens_per_minute=20),
}


class PlanEntry(_Entry):
    """One plan."""

    title: Title | None = None
    tier: Literal["guest", "free", "paid"]
    tier_level: int = Field(ge=0, le=100)
    included_minutes: Minutes
    overage_minutes: Minutes | Literal["unlimited"]
    overage_cents_per_minute: int = Field(default=0, ge=0, le=10**6)
    monthly_uploads: int = Field(default=0, ge=0, le=10**9)
    rate_class: str = STANDARD
    retention_days: int = Field(ge=1, le=36_500)
    max_upload_mebibytes: int = Field(ge=1, le=10**7)
    max_duration_minutes: int = Field(ge=1, le=10**6)
    detection_rate_percent: int = Field(default=25, ge=0, le=1000)

    def to_proto(self, name: str, rates: RateClassEntry) -> Plan:
        """The plan with its rate class put in."""
        overage = self.overage_minutes
        return Plan(
            name=name,
            title=self.title or name.capitalize(),
            tier=self.tier,
            tier_level=self.tier_level,
            included_ms=self.included_minutes * MS_PER_MINUTE,
            overage_limit_ms=UNLIMITED_MS if overage == "unlimited" else overage * MS_PER_MINUTE,
            overage_cents_per_minute=self.overage_cents_per_minute,
            monthly_uploads=self.monthly_uploads,
            retention_days=self.retention_days,
            max_upload_bytes=self.max_upload_mebibytes * BYTES_PER_MEBIBYTE,
            max_duration_ms=self.max_duration_minutes * MS_PER_MINUTE,
            detection_rate_percent=self.detection_rate_percent,
            rate_classes=[RateClass(contract=contract, **rate.model_dump()) for contract, rate in rates.items()],
        )


class CreditPackEntry(_Entry):
    """Credit on sale."""

    title: Title
    minutes: int = Field(ge=1, le=10**9)
    price_cents: int = Field(ge=1, le=99_999_999)
    currency: str = Field(pattern=r"^[a-z]{3}$")
    plan: str = ""

    def to_proto(self, name: str) -> CreditPack:
        """The pack as buyers see it."""
        amount_ms = self.minutes * MS_PER_MINUTE
        return CreditPack(name=name, title=self.title, amount_ms=amount_ms, price_cents=self.price_cents, currency=self.currency)


class PlansFile(_Entry):
    """The whole file."""

    default: str
    user: str | None = None
    guest: str | None = None
    plans: dict[Name, PlanEntry]
    rate_classes: dict[Name, RateClassEntry] = Field(default_factory=dict)
    credit_packs: dict[Name, CreditPackEntry] = Field(default_factory=dict)

    def rates_of(self, plan: PlanEntry) -> RateClassEntry:
        """The rate class of a plan."""
        return self.rate_classes.get(plan.rate_class, PUBLISHED)

    @property
    def user_plan(self) -> str:
        """The plan of new users; files from before there were users have `free`, or the default."""
        return self.user or (FREE if FREE in self.plans else self.default)

    @property
    def guest_plan(self) -> str:
        """The plan of guests, found likewise."""
        return self.guest or (GUEST if GUEST in self.plans else self.default)


def dangling_names(content: Mapping[str, Any]) -> Iterator[str]:
    """References to what the file does not have, as problems; looks at any shape of file, so that all problems show at once."""
    plans, classes, packs = (_tables(content, name) for name in ("plans", "rate_classes", "credit_packs"))
    used = [(field, content.get(field)) for field in ("default", "user", "guest")]
    used += [(f"credit_packs.{name}.plan", pack.get("plan")) for name, pack in packs.items()]
    for field, plan in used:
        if isinstance(plan, str) and plan and plan not in plans:
            yield f"{field}: there is no plan {plan!r}"
    for name, plan_fields in plans.items():
        rate_class = plan_fields.get("rate_class", STANDARD)
        if rate_class not in classes and not (rate_class == STANDARD and not classes):
            yield f"plans.{name}.rate_class: there is no rate class {rate_class!r}"


def _tables(content: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    found = content.get(name, {})
    return {key: value for key, value in found.items() if isinstance(value, dict)} if isinstance(found, dict) else {}
