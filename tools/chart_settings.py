"""The part of the chart's schema that says which settings its values may name: from the services' own classes."""

from collections.abc import Mapping
from typing import Any

from tools.settings_table import SERVICES, find_settings

# What the chart sets itself, from its other values.
SET_BY_CHART: Mapping[str, frozenset[str]] = {
    "": frozenset(
        {
            *("host", "port", "profile", "metrics_port", "shutdown_notice_seconds", "shutdown_grace_seconds"),
            *("identity_key_file", "nats_url", "nats_monitor_url"),
            *("tls_certificate_file", "tls_key_file", "tls_authority_file", "tls_trust_domain", "database_url"),
            *("billing_address", "storage_address", "jobs_address", "inference_address"),
        }
    ),
    "gateway": frozenset({"storage_data_url", "oidc_issuers_file", "summary_chat_key_file", "egress_ca_file"}),
    "billing": frozenset({"pepper_file", "plans_file", "payment_provider", "stripe_secret_key_file", "stripe_webhook_secret_file"}),
    "storage": frozenset(
        {
            *("signing_key_file", "data_port", "data_url", "blob_directory", "blob_store", "egress_ca_file"),
            *("s3_bucket", "s3_region", "s3_endpoint", "s3_access_key_id", "s3_secret_access_key"),
        }
    ),
    "jobs": frozenset({"claim_key_file"}),
    "inference": frozenset(
        {
            *("scratch_directory", "models_directory", "engine", "triton_address", "triton_tls", "triton_tls_ca_file"),
            # A repository that inference and Triton both write to is not part of this chart.
            *("triton_model_control", "triton_control_header", "triton_repository", "triton_detectors"),
        }
    ),
}
_KEPT = frozenset(
    {"type", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "pattern", "minLength", "maxLength", "description"}
)


def settings_schema() -> dict[str, Any]:
    """JSON schema of the value `settings`: an object per service, with the settings that the chart leaves open."""
    return {
        service: {"type": "object", "additionalProperties": False, "properties": _open_settings(service)} for service in sorted(SERVICES)
    }


def _open_settings(service: str) -> dict[str, Any]:
    taken = SET_BY_CHART[""] | SET_BY_CHART[service]
    found = find_settings(service).model_json_schema(by_alias=False)
    return {name: _plain(schema, found.get("$defs", {})) for name, schema in sorted(found["properties"].items()) if name not in taken}


def _plain(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """The schema without titles, defaults, references, and what Helm does not know."""
    if "$ref" in schema:
        return _plain({**definitions[schema["$ref"].rpartition("/")[2]], "description": schema["description"]}, definitions)
    plain = {key: value for key, value in schema.items() if key in _KEPT}
    if "items" in schema:
        plain["items"] = _plain(schema["items"], definitions)
    if isinstance(schema.get("additionalProperties"), Mapping):
        plain["additionalProperties"] = _plain(schema["additionalProperties"], definitions)
    if "anyOf" in schema:
        plain["anyOf"] = [_plain(choice, definitions) for choice in schema["anyOf"]]
    return plain
