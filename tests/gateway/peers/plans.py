"""Billing periods as billing answers them, and the rates that Steno is shipped with."""

import tomllib
from datetime import UTC, datetime
from importlib.resources import files

from services.gateway.units import timestamp
from steno.billing.v1.ledger_pb2 import Usage
from steno.billing.v1.workspace_pb2 import Plan, RateClass


def usage_of(plan: Plan, *, year: int = 2025, month: int = 2, **amounts: int) -> Usage:
    """The usage of one calendar month; `amounts` are fields of Usage."""
    following = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    return Usage(start_time=timestamp(datetime(year, month, 1, tzinfo=UTC)), end_time=timestamp(following), plan=plan, **amounts)


def rates_of(contract: str) -> list[RateClass]:
    """The rates of a contract in the plans file's standard class."""
    shipped = tomllib.loads(files("services.billing").joinpath("plans.toml").read_text())
    return [RateClass(contract=contract, **shipped["rate_classes"]["standard"][contract])]
