"""The values: each with its sentence, every wrong one refused, and what is written from them up to date."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from services.mesh.egress.addresses import FORBIDDEN_IPV4
from tests.deploy.charts import Rendering, component, template
from tools.chart_files import chart_files, stale_copies
from tools.chart_settings import SET_BY_CHART
from tools.chart_values import CHART, Value, read_values, walk
from tools.settings_table import SERVICES, find_settings

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = read_values((CHART / "values.yaml").read_text())


def test_files_written_from_elsewhere_are_up_to_date() -> None:
    stale = [path.name for path, content in chart_files().items() if not path.exists() or path.read_text() != content]
    assert stale == [], "run python -m tools.chart_files"
    assert stale_copies() == []


def test_values_without_a_sentence_are_refused() -> None:
    with pytest.raises(ValueError, match=r"first\.second has no comment"):
        read_values("# -- Known.\nfirst:\n  second: 1\n")


def _objects(schema: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every part of the schema that describes an object, with where it is."""
    if isinstance(schema, list):
        for item in schema:
            yield from _objects(item, path)
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield path, schema
        for key, part in schema.items():
            yield from _objects(part, f"{path}/{key}")


def test_no_object_takes_keys_that_are_not_named_or_of_another_type() -> None:
    open_objects = [path for path, schema in _objects(SCHEMA) if "additionalProperties" not in schema and path != "/properties/global"]
    assert open_objects == []
    # Maps of the user's own names have values of one type.
    loose = [path for path, schema in _objects(SCHEMA) if schema.get("additionalProperties") not in (None, False)]
    assert all(path.rpartition("/")[2] in _MAPS for path in loose), loose


_MAPS = {"labels", "matchLabels", "requests", "limits", "openai_models"}


def test_every_value_is_described_and_used_by_a_template() -> None:
    templates = "".join(path.read_text() for path in (CHART / "templates").iterdir())
    for value in walk(VALUES):
        assert value.sentence.endswith((".", ")")), value.path
        assert value.path[0] == "settings" or _word_of(value) in templates, value.path


def _word_of(value: Value) -> str:
    """What a template would say of it; of keys that are made up from parts, the common part."""
    return "Key" if value.path[-1].endswith("Key") and "external" in value.path else value.path[-1]


WRONG: Mapping[str, Any] = {
    "an unknown key": {"replicas": 3},
    "an unknown key below": {"services": {"gateway": {"replica": 3}}},
    "an unknown service": {"services": {"worker": {"replicas": 3}}},
    "a wrong type": {"services": {"gateway": {"replicas": "3"}}},
    "a mode that is none": {"postgres": {"mode": "internal"}},
    "a misspelt setting": {"settings": {"jobs": {"lease_secs": 60}}},
    "a setting of another service": {"settings": {"gateway": {"lease_seconds": 60}}},
    "a setting of a wrong type": {"settings": {"jobs": {"max_attempts": "many"}}},
    "a setting out of its bounds": {"settings": {"inference": {"beams": 9}}},
    "a setting that is none of its words": {"settings": {"inference": {"precision": "fp64"}}},
    "a setting that the chart sets": {"settings": {"jobs": {"database_url": "postgresql://a:b@c/d"}}},
    "a risk that is none": {"settings": {"storage": {"accepted_risks": ["everything"]}}},
    "the tag latest": {"image": {"tag": "latest"}},
    "limits without a disk": {"services": {"jobs": {"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1", "memory": "1Gi"}}}}},
    "a peer that is everybody": {"networkPolicy": {"monitoring": [{}]}},
    "a digest that is none": {"image": {"digests": {"jobs": "sha256:abc"}}},
}


def test_the_schema_is_one_itself() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_the_schema_refuses(wrong: Mapping[str, Any]) -> None:
    assert not jsonschema.Draft7Validator(SCHEMA).is_valid(wrong)


def test_helm_refuses_what_the_schema_does() -> None:
    done = template("--set", "settings.jobs.lease_secs=60")
    assert done.returncode != 0
    assert "lease_secs" in done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_is_open_or_set_by_the_chart(service: str) -> None:
    every = set(find_settings(service).model_fields)
    offered = set(SCHEMA["properties"]["settings"]["properties"][service]["properties"])
    taken = every & (SET_BY_CHART[""] | SET_BY_CHART[service])
    assert offered | taken == every
    assert not offered & taken
    assert SET_BY_CHART[service] <= every


def test_no_secret_setting_is_a_value() -> None:
    schema = find_settings("storage").model_json_schema(by_alias=False)["properties"]
    assert schema["s3_secret_access_key"]["format"] == "password"
    offered = SCHEMA["properties"]["settings"]["properties"]
    for service in SERVICES:
        fields = find_settings(service).model_json_schema(by_alias=False)["properties"]
        assert not {name for name, field in fields.items() if field.get("format") == "password"} & set(offered[service]["properties"])


def test_networks_of_ones_own_are_left_out_of_the_internet(renderings: Mapping[str, Rendering]) -> None:
    rules = renderings["full"].one("NetworkPolicy", "storage")["spec"]["egress"]
    blocks = {peer["ipBlock"]["cidr"]: peer["ipBlock"].get("except") for rule in rules for peer in rule["to"] if "ipBlock" in peer}
    assert blocks["0.0.0.0/0"] == [*map(str, FORBIDDEN_IPV4), "198.99.0.0/16"]
    assert "2a00:1234::/32" in blocks["2000::/3"]


def test_the_internet_is_open_to_those_that_were_told_so(renderings: Mapping[str, Rendering]) -> None:
    reaching = {
        name: {component(policy) for policy in rendering.of_kind("NetworkPolicy") if "0.0.0.0/0" in json.dumps(policy)}
        for name, rendering in renderings.items()
    }
    assert reaching == {"minimal": {"storage"}, "full": {"gateway", "billing", "storage"}, "gpu": {"storage", "operator"}}
