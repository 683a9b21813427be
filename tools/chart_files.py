"""Write what the chart has from elsewhere: `python -m tools.chart_files`.

Its schema and README come from its values and the services' settings, its rules and dashboards from deploy/observability, the role of its
Postgres from deploy/postgres, the networks that nobody may fetch from out of the code that refuses them.
"""

from collections.abc import Mapping
from pathlib import Path

import yaml

from services.mesh.egress.addresses import FORBIDDEN_IPV4, FORBIDDEN_IPV6, GLOBAL_IPV6
from tools.chart_readme import write_readme
from tools.chart_schema import write_schema
from tools.chart_values import CHART, read_values

DEPLOY = CHART.parents[1]
OBSERVABILITY = DEPLOY / "observability"
# Folder of the chart: where its files come from, and which.
COPIES: Mapping[str, tuple[Path, str]] = {
    "files/rules": (OBSERVABILITY / "rules", "*.rules.yaml"),
    "files/dashboards": (OBSERVABILITY / "grafana", "*.json"),
    "files/postgres": (DEPLOY / "postgres", "*.sh"),
}


def chart_files() -> dict[Path, str]:
    """Path and content of every file of the chart that is written by this program."""
    values = read_values((CHART / "values.yaml").read_text(encoding="utf-8"))
    files = {
        CHART / "values.schema.json": write_schema(values),
        CHART / "README.md": write_readme(values),
        CHART / "files" / "networks.yaml": write_networks(),
    }
    for folder, (source, pattern) in COPIES.items():
        files |= {CHART / folder / path.name: path.read_text(encoding="utf-8") for path in sorted(source.glob(pattern))}
    return files


def write_networks() -> str:
    """Per family of addresses the widest public network, what of it is refused, and the mark that tells its networks."""
    families = [
        {"mark": ".", "cidr": "0.0.0.0/0", "except": [str(network) for network in FORBIDDEN_IPV4]},
        {"mark": ":", "cidr": str(GLOBAL_IPV6), "except": [str(network) for network in FORBIDDEN_IPV6]},
    ]
    return "# Written by `python -m tools.chart_files` from services/mesh/egress/addresses.py.\n" + yaml.safe_dump({"families": families})


def stale_copies() -> list[Path]:
    """Copies in the chart whose originals are gone."""
    written = chart_files()
    return [path for folder in COPIES for path in (CHART / folder).glob("*") if path not in written]


def main() -> None:
    """Write them, and remove copies of what is gone."""
    for path in stale_copies():
        path.unlink()
    for path, content in chart_files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
