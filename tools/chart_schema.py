"""The JSON schema of the chart's values, from their defaults and comments and from the services' settings."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tools.chart_settings import settings_schema
from tools.chart_values import Value

_TYPES: Mapping[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}
_QUANTITY = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"}
_NETWORK = {"type": "string", "pattern": "^[0-9a-fA-F.:]+/[0-9]+$"}
_STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}
_EXPRESSION = {
    "type": "object",
    "additionalProperties": False,
    "required": ["key", "operator"],
    "properties": {
        "key": {"type": "string"},
        "operator": {"enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
        "values": {"type": "array", "items": {"type": "string"}},
    },
}
_LABEL_SELECTOR = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"matchLabels": _STRINGS, "matchExpressions": {"type": "array", "items": _EXPRESSION}},
}
_AMOUNTS = {
    "type": "object",
    "additionalProperties": {"type": ["string", "integer"], "pattern": _QUANTITY["pattern"]},
    "required": ["cpu", "memory", "ephemeral-storage"],
}
DEFINITIONS: Mapping[str, Any] = {
    "labels": {"description": "Names with their values.", **_STRINGS},
    "names": {"description": "Names.", "type": "array", "items": {"type": "string", "minLength": 1}},
    "hosts": {"description": "Names of hosts.", "type": "array", "items": {"type": "string", "minLength": 1}},
    "quantity": {"description": "An amount as Kubernetes writes it.", **_QUANTITY},
    "port": {"description": "A TCP port.", "type": "integer", "minimum": 1, "maximum": 65535},
    "networks": {
        "description": "Networks in CIDR notation.",
        "type": "array",
        "items": {"type": "string", "pattern": "^[0-9a-fA-F.:]+/[0-9]+$"},
    },
    "digests": {
        "description": "Digests of images by the last part of their names.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: {"description": f"Digest of {name}.", "type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
            for name in ("gateway", "billing", "storage", "jobs", "inference", "trainer", "operator", "all", "triton")
        },
    },
    "resources": {
        "description": "What a container asks for and may use at most.",
        "type": "object",
        "additionalProperties": False,
        "required": ["requests", "limits"],
        "properties": {
            "requests": {"description": "What it asks for.", **_AMOUNTS},
            "limits": {"description": "What it may use at most.", **_AMOUNTS},
        },
    },
    "tolerations": {
        "description": "Tolerations.",
        "type": "array",
        "items": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "key": {"type": "string"},
                "operator": {"enum": ["Exists", "Equal"]},
                "value": {"type": "string"},
                "effect": {"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
                "tolerationSeconds": {"type": "integer"},
            },
        },
    },
    "peers": {
        "description": "Pods or networks, as a NetworkPolicy names them.",
        "type": "array",
        "items": {
            "type": "object",
            "additionalProperties": False,
            "minProperties": 1,
            "properties": {
                "namespaceSelector": _LABEL_SELECTOR,
                "podSelector": _LABEL_SELECTOR,
                "ipBlock": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["cidr"],
                    "properties": {"cidr": {"type": "string"}, "except": {"type": "array", "items": {"type": "string"}}},
                },
            },
        },
    },
    "parentRefs": {
        "description": "Gateways, as an HTTPRoute names them.",
        "type": "array",
        "items": {
            "type": "object",
            "additionalProperties": False,
            "required": ["name"],
            "properties": {
                "name": {"type": "string"},
                "namespace": {"type": "string"},
                "sectionName": {"type": "string"},
                "port": {"type": "integer"},
                "group": {"type": "string"},
                "kind": {"type": "string"},
            },
        },
    },
}


def write_schema(values: Sequence[Value]) -> str:
    """The content of values.schema.json."""
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart of Steno",
        **_object(values),
        "definitions": DEFINITIONS,
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _object(values: Sequence[Value]) -> dict[str, Any]:
    properties = {value.path[-1]: _of_value(value) for value in values}
    # Helm hands the values of charts above down to every chart.
    extra = {"global": {"description": "Not used.", "type": "object"}} if values and len(values[0].path) == 1 else {}
    return {"type": "object", "additionalProperties": False, "properties": {**properties, **extra}}


def _of_value(value: Value) -> dict[str, Any]:
    described = {"description": value.sentence}
    if value.settings:
        services = settings_schema()
        sentences = {child.path[-1]: {"description": child.sentence} for child in value.children}
        properties = {name: {**sentences[name], **schema} for name, schema in services.items()}
        return {**described, "type": "object", "additionalProperties": False, "properties": properties}
    if "$ref" in value.schema:
        # Beside a reference draft 7 heeds nothing.
        return {**described, "allOf": [dict(value.schema)]}
    if isinstance(value.default, dict):
        return {**described, **_object(value.children), **value.schema}
    return {**described, "type": _TYPES[type(value.default)], **value.schema}
