"""What Prometheus may be asked for: the series that are scraped, with their labels."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import promql_parser
import yaml
from prometheus_client import Counter, Histogram
from prometheus_client.metrics import MetricWrapperBase

from services.mesh import semconv

RULES = Path(__file__).resolve().parents[1] / "deploy" / "observability" / "rules" / "steno.rules.yaml"
# Of every target: deploy/compose/prometheus.yaml and the chart's ServiceMonitor.
TARGET = frozenset({"job", "instance", "service"})
_PROCESS = ("start_time_seconds", "open_fds", "max_fds", "resident_memory_bytes", "cpu_seconds_total")
# Triton's, and its backend's own: services/inference/triton/backend.py.
_TRITON = {
    "nv_inference_queue_duration_us": {"model", "version"},
    "nv_inference_request_success": {"model", "version"},
    "nv_inference_request_failure": {"model", "version", "reason"},
    "nv_inference_pending_request_count": {"model", "version"},
    "nv_inference_exec_count": {"model", "version"},
    "nv_inference_count": {"model", "version"},
    "nv_inference_compute_infer_duration_us": {"model", "version"},
    "nv_gpu_utilization": {"gpu_uuid"},
    "nv_gpu_memory_used_bytes": {"gpu_uuid"},
    "nv_gpu_memory_total_bytes": {"gpu_uuid"},
    "steno_triton_requests": {"model", "outcome"},
}


def declared_metrics() -> list[tuple[str, MetricWrapperBase]]:
    """Name in semconv and metric, in its order."""
    return [(name, value) for name, value in vars(semconv).items() if isinstance(value, MetricWrapperBase)]


def _series(metric: MetricWrapperBase) -> Iterator[tuple[str, frozenset[str]]]:
    name, labels = metric._name, frozenset(metric._labelnames)
    if isinstance(metric, Counter):
        yield f"{name}_total", labels
    elif isinstance(metric, Histogram):
        yield from ((f"{name}_count", labels), (f"{name}_sum", labels), (f"{name}_bucket", labels | {"le"}))
    else:
        yield name, labels


def known_series() -> Mapping[str, frozenset[str]]:
    """Every series by name, with the labels it may have."""
    found = dict(series for _, metric in declared_metrics() for series in _series(metric))
    found |= {name: frozenset(labels) for name, labels in _TRITON.items()}
    found |= {f"process_{name}": frozenset() for name in _PROCESS} | {"up": frozenset()}
    found |= {rule["record"]: frozenset() for rule in rules() if "record" in rule}
    return {name: labels | TARGET for name, labels in found.items()}


def rules() -> list[dict[str, Any]]:
    """Every rule of the file."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def problems_of(expression: str) -> list[str]:
    """What an expression names that nothing exposes. Raises ValueError when it does not parse."""
    series, problems = known_series(), []
    available: set[str] = set()
    selectors, groupings = _parts(promql_parser.parse(expression))
    for name, labels in selectors:
        if name not in series:
            problems.append(f"no metric {name}")
        else:
            available |= series[name]
            problems += [f"{name} has no label {label}" for label in labels if label not in series[name]]
    return problems + [f"nothing here has the label {label} to group by" for label in groupings if label not in available]


def _parts(tree: Any) -> tuple[list[tuple[str, list[str]]], list[str]]:
    """The selectors, each with the labels it matches on, and the labels that are grouped or matched by."""
    selectors: list[tuple[str, list[str]]] = []
    groupings: list[str] = []
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, promql_parser.VectorSelector):
            selectors.append((str(node.name), [matcher.name for matcher in node.matchers.matchers]))
        modifier = getattr(node, "modifier", None)
        groupings += getattr(modifier, "labels", None) or getattr(getattr(modifier, "matching", None), "labels", None) or []
        children = [getattr(node, name, None) for name in ("lhs", "rhs", "expr", "param", "vector_selector")]
        pending += [child for child in (*children, *getattr(node, "args", ())) if isinstance(child, promql_parser.Expr)]
    return selectors, groupings
