"""Plans, read from a TOML file whose comments explain every field."""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.billing.domain import UNLIMITED_MS, UnknownPlan
from steno.billing.v1.workspace_pb2 import Plan

MS_PER_MINUTE = 60_000
BYTES_PER_MEBIBYTE = 1 << 20
Minutes = Annotated[int, Field(ge=0, le=10**9)]


class PlansInvalid(ValueError):
    """The plans file cannot be used; the text lists every problem, one a line."""


class _PlanEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    tier: Literal["guest", "free", "paid"]
    tier_level: int = Field(ge=0, le=100)
    included_minutes: Minutes
    overage_minutes: Minutes | Literal["unlimited"]
    retention_days: int = Field(ge=1, le=36_500)
    max_upload_mebibytes: int = Field(ge=1, le=10**7)
    max_duration_minutes: int = Field(ge=1, le=10**6)

    def to_proto(self, name: str) -> Plan:
        overage = self.overage_minutes
        return Plan(
            name=name,
            tier=self.tier,
            tier_level=self.tier_level,
            included_ms=self.included_minutes * MS_PER_MINUTE,
            overage_limit_ms=UNLIMITED_MS if overage == "unlimited" else overage * MS_PER_MINUTE,
            retention_days=self.retention_days,
            max_upload_bytes=self.max_upload_mebibytes * BYTES_PER_MEBIBYTE,
            max_duration_ms=self.max_duration_minutes * MS_PER_MINUTE,
        )


class _PlansFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    default: str
    plans: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")], _PlanEntry]

    @model_validator(mode="after")
    def _default_is_a_plan(self) -> "_PlansFile":
        if self.default not in self.plans:
            raise ValueError(f"default: there is no plan {self.default!r}")
        return self


class Plans:
    """The plans of one file."""

    def __init__(self, default: str, plans: dict[str, Plan]) -> None:
        self.default, self._plans = default, plans

    def get(self, name: str) -> Plan:
        """The plan of this name, the default one for an empty name. Raises UnknownPlan."""
        plan = self._plans.get(name or self.default)
        if plan is None:
            raise UnknownPlan(plan=name)
        return plan

    def missing(self, names: list[str]) -> list[str]:
        """Those of the names that the file does not have."""
        return sorted(set(names) - self._plans.keys())


def _problems(path: object, error: ValidationError) -> PlansInvalid:
    lines = [f"{'.'.join(map(str, item['loc'])) or 'file'}: {item['msg']}" for item in error.errors()]
    return PlansInvalid("\n".join([f"plans file {path}:", *lines]))


def read_plans(path: Path | None) -> Plans:
    """Plans of the file, or of the packaged one. Raises PlansInvalid with every problem found."""
    source = path or files("services.billing").joinpath("plans.toml")
    try:
        content = _PlansFile.model_validate(tomllib.loads(source.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise _problems(source, error) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PlansInvalid(f"plans file {source}: {error}") from error
    return Plans(content.default, {name: entry.to_proto(name) for name, entry in content.plans.items()})
