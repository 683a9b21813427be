"""Schemas of what other projects add to Kubernetes, as far as the chart uses it: keys beside these are refused."""

from collections.abc import Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]
_TEXT: Schema = {"type": "string", "minLength": 1}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_DURATION: Schema = {"type": "string", "pattern": "^([0-9]+(h|m|s))+$"}
_LABELS: Schema = {"type": "object", "additionalProperties": {"type": "string", "maxLength": 63}}


def _object(properties: Mapping[str, Schema], required: Sequence[str] = ()) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": dict(properties), "required": list(required)}


def _list(items: Schema) -> Schema:
    return {"type": "array", "minItems": 1, "items": items}


def _resource(api_version: str, spec: Schema) -> Schema:
    metadata = _object(
        {"name": {**_TEXT, "maxLength": 63}, "namespace": _TEXT, "labels": _LABELS, "annotations": _LABELS}, ["name", "namespace"]
    )
    versions = {"const": api_version}
    return _object({"apiVersion": versions, "kind": _TEXT, "metadata": metadata, "spec": spec}, ["apiVersion", "kind", "metadata", "spec"])


_ISSUER_REFERENCE = _object({"name": _TEXT, "kind": {"enum": ["Issuer", "ClusterIssuer"]}, "group": _TEXT}, ["name"])
_CERTIFICATE = _object(
    {
        "secretName": _TEXT,
        "issuerRef": _ISSUER_REFERENCE,
        "isCA": {"type": "boolean"},
        "commonName": {**_TEXT, "maxLength": 64},
        "duration": _DURATION,
        "renewBefore": _DURATION,
        "usages": _list({"enum": ["digital signature", "server auth", "client auth"]}),
        "uris": _list({"type": "string", "pattern": "^spiffe://[a-z0-9._-]+/[a-z]+$"}),
        "ipAddresses": _list(_TEXT),
        "dnsNames": _list(_TEXT),
        "privateKey": _object(
            {"algorithm": {"enum": ["RSA", "ECDSA", "Ed25519"]}, "size": _COUNT, "rotationPolicy": {"enum": ["Always", "Never"]}}
        ),
    },
    ["secretName", "issuerRef"],
)
_ISSUER = {
    **_object({"selfSigned": _object({}), "ca": _object({"secretName": _TEXT}, ["secretName"])}),
    "minProperties": 1,
    "maxProperties": 1,
}
_RELABELING = _object(
    {"sourceLabels": _list(_TEXT), "targetLabel": _TEXT, "replacement": _TEXT, "action": {"const": "replace"}}, ["targetLabel"]
)
_SERVICE_MONITOR = _object(
    {
        "selector": _object({"matchLabels": _LABELS}, ["matchLabels"]),
        "namespaceSelector": _object({"matchNames": _list(_TEXT)}),
        "endpoints": _list(
            _object(
                {"port": _TEXT, "path": _TEXT, "interval": _DURATION, "scrapeTimeout": _DURATION, "relabelings": _list(_RELABELING)},
                ["port"],
            )
        ),
    },
    ["selector", "endpoints"],
)
_RULE = {
    **_object(
        {
            "alert": _TEXT,
            "record": _TEXT,
            "expr": _TEXT,
            "for": _DURATION,
            "keep_firing_for": _DURATION,
            "labels": _LABELS,
            "annotations": _LABELS,
        },
        ["expr"],
    ),
    "oneOf": [{"required": ["alert"]}, {"required": ["record"]}],
}
_ANNOTATED_RULE = {
    **_RULE,
    "properties": {**_RULE["properties"], "annotations": {"type": "object", "additionalProperties": {"type": "string"}}},
}
_PROMETHEUS_RULE = _object(
    {"groups": _list(_object({"name": _TEXT, "interval": _DURATION, "rules": _list(_ANNOTATED_RULE)}, ["name", "rules"]))}, ["groups"]
)
_TARGET = _object({"apiVersion": _TEXT, "kind": _TEXT, "name": _TEXT}, ["name"])
# Metadata of KEDA's triggers are strings, whatever they say.
_JETSTREAM = _object(
    {
        "natsServerMonitoringEndpoint": {"type": "string", "pattern": "^[a-z0-9.-]+:[0-9]+$"},
        "account": _TEXT,
        "stream": _TEXT,
        "consumer": _TEXT,
        "lagThreshold": {"type": "string", "pattern": "^[1-9][0-9]*$"},
        "activationLagThreshold": {"type": "string", "pattern": "^[0-9]+$"},
        "useHttps": {"enum": ["true", "false"]},
    },
    ["natsServerMonitoringEndpoint", "account", "stream", "consumer", "lagThreshold"],
)
_SCALED_OBJECT = _object(
    {
        "scaleTargetRef": _TARGET,
        "pollingInterval": _COUNT,
        "cooldownPeriod": _COUNT,
        "minReplicaCount": _COUNT,
        "maxReplicaCount": _COUNT,
        "fallback": _object({"failureThreshold": _COUNT, "replicas": _COUNT}, ["failureThreshold", "replicas"]),
        "advanced": _object(
            {
                "horizontalPodAutoscalerConfig": _object(
                    {"behavior": _object({"scaleDown": _object({"stabilizationWindowSeconds": _COUNT})})},
                )
            }
        ),
        "triggers": _list(_object({"type": {"const": "nats-jetstream"}, "metadata": _JETSTREAM}, ["type", "metadata"])),
    },
    ["scaleTargetRef", "triggers"],
)
_PATH_MATCH = _object({"path": _object({"type": {"const": "PathPrefix"}, "value": {"type": "string", "pattern": "^/"}})})
_HTTP_ROUTE = _object(
    {
        "parentRefs": _list(
            _object({"name": _TEXT, "namespace": _TEXT, "sectionName": _TEXT, "port": _COUNT, "group": _TEXT, "kind": _TEXT}, ["name"])
        ),
        "hostnames": _list(_TEXT),
        "rules": _list(
            _object(
                {
                    "matches": _list(_PATH_MATCH),
                    "backendRefs": _list(_object({"name": _TEXT, "port": _COUNT}, ["name", "port"])),
                }
            )
        ),
    },
    ["parentRefs", "rules"],
)
# Written for these tests from the projects' references; what the projects check themselves beyond shapes is not here.
SCHEMAS: Mapping[str, Schema] = {
    "Certificate": _resource("cert-manager.io/v1", _CERTIFICATE),
    "Issuer": _resource("cert-manager.io/v1", _ISSUER),
    "ServiceMonitor": _resource("monitoring.coreos.com/v1", _SERVICE_MONITOR),
    "PrometheusRule": _resource("monitoring.coreos.com/v1", _PROMETHEUS_RULE),
    "ScaledObject": _resource("keda.sh/v1alpha1", _SCALED_OBJECT),
    "HTTPRoute": _resource("gateway.networking.k8s.io/v1", _HTTP_ROUTE),
}
