"""JAMS files: the annotations of a recording as JSON.

Source: the JAMS schema (Humphrey et al. 2014). Read are the open namespaces of segments and tags, and those of sound events.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from services.datasets_cli.labels import BadLabel, Label, Reading, collect, make_label, number

NAMESPACES = frozenset({"segment_open", "tag_open", "sound_event", "scaper"})
_FIELDS = ("time", "duration", "value", "confidence")


def read_jams(text: str, name: str) -> Reading[Label]:
    """The labels of a file."""
    try:
        document = json.loads(text, parse_float=Decimal, parse_constant=str)
        annotations = document["annotations"]
        read = [one for one in annotations if one["namespace"] in NAMESPACES]
        observations = list(_observations(read, name))
    except (ValueError, RecursionError) as error:
        return Reading(problems=[f"{name}: {error or 'nested too deeply'}"])
    except (TypeError, KeyError, AttributeError):
        return Reading(problems=[f"{name}: this is not the form of a JAMS file"])
    if annotations and not read:
        return Reading(problems=[f"{name}: no annotation is of a namespace that is read ({', '.join(sorted(NAMESPACES))})"])
    return collect(observations, _label)


def _observations(annotations: Sequence[Any], name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for annotation in annotations:
        data = annotation["data"]
        # Dense data has a list for each field instead of an object for each observation.
        rows = [dict(zip(_FIELDS, row, strict=True)) for row in _columns(data)] if isinstance(data, dict) else data
        for index, row in enumerate(rows, 1):
            yield f"{name} {annotation['namespace']} {index}", row


def _columns(data: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    return zip(*(data[field] for field in _FIELDS), strict=True)


def _label(place: str, row: Mapping[str, Any]) -> Label:
    if not isinstance(row, Mapping):
        raise BadLabel("an observation has time, duration, value and confidence")
    start = _number(row.get("time"), "time")
    confidence = Decimal(1) if row.get("confidence") is None else _number(row["confidence"], "confidence")
    return make_label(_name(row.get("value")), start * 1000, (start + _number(row.get("duration"), "duration")) * 1000, confidence, place)


def _name(value: Any) -> str:
    text = value.get("label") if isinstance(value, Mapping) else value
    if not isinstance(text, str):
        raise BadLabel("its value is no text")
    return text.strip()


def _number(value: Any, field: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise BadLabel(f"its {field} is no number")
    return number(str(value), f"a {field}")
