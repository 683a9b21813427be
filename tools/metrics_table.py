"""Write the table of docs/monitoring.md from semconv: `python -m tools.metrics_table`."""

from collections.abc import Iterator
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

from services.mesh import semconv

PAGE = Path(__file__).resolve().parents[1] / "docs" / "monitoring.md"
BEGIN, END = "<!-- metrics: written by python -m tools.metrics_table -->\n", "<!-- end of metrics -->\n"
SUFFIXES = {"counter": "_total"}


def rows() -> Iterator[str]:
    """One table row per metric, in the order of the module."""
    for metric in vars(semconv).values():
        if isinstance(metric, MetricWrapperBase):
            name = metric._name + SUFFIXES.get(str(metric._type), "")
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)
            yield f"| `{name}` | {metric._type} | {labels} | {owners(metric)} | {metric._documentation} |"


def owners(metric: MetricWrapperBase) -> str:
    """Who exposes it."""
    return ", ".join(service for service, metrics in semconv.OF_SERVICE.items() if metric in metrics) or "every service"


def written(page: str) -> str:
    """The page with the table of this moment. Raises ValueError without its two marks."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has no place for the table")
    table = "| metric | type | labels | exposed by | means |\n|---|---|---|---|---|\n" + "".join(f"{row}\n" for row in rows())
    return f"{head}{BEGIN}{table}{END}{tail}"


def main() -> None:
    """Write the page."""
    PAGE.write_text(written(PAGE.read_text()))


if __name__ == "__main__":
    main()
