"""Plans and credit packs, read from a TOML file whose comments explain every field."""

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from services.billing.domain import UnknownCreditPack, UnknownPlan
from services.billing.plans_file import PlansFile, dangling_names
from steno.billing.v1.payments_service_pb2 import CreditPack
from steno.billing.v1.workspace_pb2 import Plan


class PlansInvalid(ValueError):
    """The plans file cannot be used; the text lists every problem, one a line."""


@dataclass(frozen=True)
class Pack:
    """A credit pack, and the plan that it moves its buyer's wallet to; empty for none."""

    proto: CreditPack
    plan: str


@dataclass(frozen=True)
class Plans:
    """The plans of one file. default, user, guest: names of the plans of new workspaces, new users and guests."""

    default: str
    user: str
    guest: str
    plans: Mapping[str, Plan]
    packs: Mapping[str, Pack]

    def get(self, name: str) -> Plan:
        """The plan of this name, the default one for an empty name. Raises UnknownPlan."""
        plan = self.plans.get(name or self.default)
        if plan is None:
            raise UnknownPlan(plan=name)
        return plan

    def included_ms(self, name: str, *, anonymous: bool) -> int:
        """What a wallet is granted each month.

        Nothing for an anonymous buyer on the plan of guests: anyone can make such wallets, and as many as they like.
        """
        return 0 if anonymous and name == self.guest else self.get(name).included_ms

    def pack(self, name: str) -> Pack:
        """The credit pack of this name. Raises UnknownCreditPack."""
        pack = self.packs.get(name)
        if pack is None:
            raise UnknownCreditPack(credit_pack=name)
        return pack

    def missing(self, names: Collection[str]) -> list[str]:
        """Those of the names that the file does not have."""
        return sorted(set(names) - self.plans.keys())


def read_plans(path: Path | None) -> Plans:
    """Plans of the file, or of the packaged one. Raises PlansInvalid with every problem found."""
    source = path or files("services.billing").joinpath("plans.toml")
    try:
        content = tomllib.loads(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PlansInvalid(f"plans file {source}: {error}") from error
    return _plans(_checked(source, content))


def _checked(source: object, content: dict[str, Any]) -> PlansFile:
    problems = list(dangling_names(content))
    try:
        checked = PlansFile.model_validate(content)
    except ValidationError as error:
        found = [f"{'.'.join(map(str, item['loc'])) or 'file'}: {item['msg']}" for item in error.errors()]
        raise PlansInvalid("\n".join([f"plans file {source}:", *found, *problems])) from error
    if problems:
        raise PlansInvalid("\n".join([f"plans file {source}:", *problems]))
    return checked


def _plans(file: PlansFile) -> Plans:
    return Plans(
        file.default,
        file.user_plan,
        file.guest_plan,
        {name: plan.to_proto(name, file.rates_of(plan)) for name, plan in file.plans.items()},
        {name: Pack(pack.to_proto(name), pack.plan) for name, pack in file.credit_packs.items()},
    )
