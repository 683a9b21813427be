"""Files of plans for meshes under test: the packaged ones, changed where a campaign needs it."""

import re
from collections.abc import Mapping
from importlib.resources import files

_PLAN = """
[plans.{name}]
tier = "paid"
tier_level = 2
included_minutes = {minutes}
overage_minutes = 0
retention_days = 1
max_upload_mebibytes = 10
max_duration_minutes = 10
rate_class = "standard"
"""


def packaged_plans() -> str:
    """What the product ships."""
    return files("services.billing").joinpath("plans.toml").read_text(encoding="utf-8")


def plans_with(minutes: Mapping[str, int], *, default: str = "unlimited") -> str:
    """The packaged plans and one of each name in `minutes`, which includes so many and nothing beyond; new workspaces are on `default`."""
    plans = packaged_plans().replace('default = "unlimited"', f'default = "{default}"')
    return plans + "".join(_PLAN.format(name=name, minutes=count) for name, count in minutes.items())


def plans_without_rates() -> str:
    """The packaged plans, of which no caller is too fast."""
    return re.sub(r"_per_minute = [0-9]+(?=[ ,])", "_per_minute = 0", packaged_plans())
