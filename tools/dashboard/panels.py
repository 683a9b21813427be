"""Grafana's panels, of a few kinds; a dashboard is rows of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

_WIDTH = 24
_HEIGHT = 8
_SOURCE = {"type": "prometheus", "uid": "${source}"}


@dataclass(frozen=True)
class Query:
    """One expression; legend: Grafana's template of each line's name."""

    expression: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """One picture. unit: Grafana's id of it. bad: from where on a value is red, for `stat`."""

    title: str
    description: str
    queries: Sequence[Query]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    bad: float | None = None


@dataclass(frozen=True)
class Row:
    """Panels below one headline."""

    title: str
    panels: Sequence[Panel] = field(default_factory=tuple)


def dashboard(title: str, uid: str, rows: Sequence[Row], variables: Sequence[Json]) -> Json:
    """The document that Grafana reads."""
    return {
        "title": title,
        "uid": uid,
        "tags": ["steno"],
        "timezone": "utc",
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": list(variables)},
        "annotations": {"list": [_restarts()]},
        "panels": list(_placed(rows)),
    }


def source_variable() -> Json:
    """Which Prometheus is asked."""
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": {}, "hide": 0}


def choice_variable(name: str, label: str, query: str) -> Json:
    """Values of a label, of which any number may be chosen."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "includeAll": True,
        "multi": True,
        "allValue": ".+",
        "current": {"text": "All", "value": "$__all"},
        "refresh": 2,
        "sort": 1,
    }


def _restarts() -> Json:
    return {
        "name": "Starts",
        "datasource": _SOURCE,
        "enable": True,
        "iconColor": "orange",
        "expr": 'changes(process_start_time_seconds{job="steno"}[1m]) > 0',
        "titleFormat": "{{service}} started",
    }


def _placed(rows: Sequence[Row]) -> Iterator[Json]:
    """Every row and its panels, from left to right and then down."""
    number, top = 1, 0
    for row in rows:
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "panels": [], "gridPos": _place(0, top, _WIDTH, 1)}
        number, top, left = number + 1, top + 1, 0
        for panel in row.panels:
            if left + panel.width > _WIDTH:
                left, top = 0, top + _HEIGHT
            yield {"id": number, "gridPos": _place(left, top, panel.width, _HEIGHT), **_body(panel)}
            number, left = number + 1, left + panel.width
        top += _HEIGHT


def _place(left: int, top: int, width: int, height: int) -> Json:
    return {"x": left, "y": top, "w": width, "h": height}


def _body(panel: Panel) -> Json:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "targets": [_target(number, query) for number, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": {"unit": panel.unit, **_colours(panel)}, "overrides": []},
        "options": _options(panel),
    }


def _target(number: int, query: Query) -> Json:
    return {"refId": chr(ord("A") + number), "datasource": _SOURCE, "expr": query.expression, "legendFormat": query.legend or "__auto"}


def _colours(panel: Panel) -> Json:
    if panel.bad is None:
        return {"custom": {"fillOpacity": 10, "showPoints": "never"}} if panel.kind == "timeseries" else {}
    steps = [{"color": "green", "value": None}, {"color": "red", "value": panel.bad}]
    return {"color": {"mode": "thresholds"}, "thresholds": {"mode": "absolute", "steps": steps}}


def _options(panel: Panel) -> Json:
    if panel.kind == "timeseries":
        return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    return {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "background", "graphMode": "area"}
