"""What helm renders is what Kubernetes takes."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate  # type: ignore[import-untyped]
import pytest

from tests.deploy.charts import VALUES_FILES, Document, Rendering, helm, named, selects, template, values_file, workloads
from tests.deploy.custom_resources import SCHEMAS
from tools.chart_values import CHART

OLDEST, NEWEST = "1.30", kubernetes_validate.latest_version()


def problems(documents: Sequence[Document], version: str) -> Iterator[str]:
    """What Kubernetes would not take; what it has no schema of must be among ours."""
    for document in documents:
        try:
            if document["kind"] in SCHEMAS:
                jsonschema.validate(document, SCHEMAS[document["kind"]])
            else:
                kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError as error:
            yield f"{named(document)}: {error.message}"
        except jsonschema.ValidationError as error:
            yield f"{named(document)}: {list(error.path)}: {error.message}"


@pytest.mark.parametrize("name", VALUES_FILES)
def test_helm_finds_nothing_to_warn_of(name: str) -> None:
    done = helm("lint", "--strict", str(CHART), "--values", str(values_file(name)))
    assert done.returncode == 0, done.stdout
    assert "WARNING" not in done.stdout


def test_every_document_is_valid(rendering: Rendering) -> None:
    assert list(problems(rendering.documents, NEWEST)) == []


def test_every_kind_of_document_is_valid_to_the_oldest_kubernetes_too(renderings: Mapping[str, Rendering]) -> None:
    kinds = {(document["kind"], rendering.name): document for rendering in renderings.values() for document in rendering.documents}
    assert list(problems(list(kinds.values()), OLDEST)) == []


SPOILT: Mapping[str, Callable[[Document], object]] = {
    "Deployment": lambda spec: spec.update(replica=1),
    "NetworkPolicy": lambda spec: spec.update(policyTypes="Ingress"),
    "Service": lambda spec: spec["ports"][0].update(port="http"),
    "Certificate": lambda spec: spec.update(dnsNames="localhost"),
    "ScaledObject": lambda spec: spec["triggers"][0]["metadata"].update(lagThreshold=2),
    "HTTPRoute": lambda spec: spec.pop("parentRefs"),
    "ServiceMonitor": lambda spec: spec.update(endpoint=[]),
}


def test_a_spoilt_document_is_found(renderings: Mapping[str, Rendering]) -> None:
    for kind, spoil in SPOILT.items():
        document = copy.deepcopy(renderings["full"].of_kind(kind)[-1])
        spoil(document["spec"])
        assert len(list(problems([document], NEWEST))) == 1, kind


def test_a_kind_that_nobody_knows_is_a_failure() -> None:
    unknown = {"apiVersion": "example.com/v1", "kind": "Unknown", "metadata": {"name": "a"}}
    assert len(list(problems([unknown], NEWEST))) == 1


def test_everything_is_in_the_release_s_namespace_and_told_apart_by_name(rendering: Rendering) -> None:
    assert {document["metadata"]["namespace"] for document in rendering.documents} == {"speech"}
    names = [named(document) for document in rendering.documents]
    assert sorted(names) == sorted(set(names))


def test_every_service_leads_to_ports_that_its_pods_open(rendering: Rendering) -> None:
    pods = [pod for _, pod in workloads(rendering.documents)]
    for service in rendering.of_kind("Service"):
        chosen = [pod for pod in pods if selects({"matchLabels": service["spec"]["selector"]}, pod["metadata"]["labels"])]
        assert len(chosen) == 1, service["metadata"]["name"]
        opened = {port["name"] for container in chosen[0]["spec"]["containers"] for port in container["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= opened


def test_metrics_of_every_service_are_found_by_prometheus(renderings: Mapping[str, Rendering]) -> None:
    monitor = renderings["full"].of_kind("ServiceMonitor")[0]["spec"]
    services = [found for found in renderings["full"].of_kind("Service") if selects(monitor["selector"], found["metadata"]["labels"])]
    with_metrics = {found["metadata"]["name"] for found in services for port in found["spec"]["ports"] if port["name"] == "metrics"}
    assert with_metrics == {f"steno-{service}" for service in ("gateway", "billing", "storage", "jobs", "inference")}


def test_names_stay_short_and_apart_for_any_release() -> None:
    done = helm("template", "a-release-with-quite-a-long-name-for-a-test", str(CHART), "--namespace", "speech")
    assert done.returncode == 0, done.stderr
    assert max(len(line.split(": ", 1)[1]) for line in done.stdout.splitlines() if line.startswith("  name: ")) <= 63


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--set", "postgres.mode=external"], "postgres.external.existingSecret"),
        (["--set", "services.storage.replicas=2"], "ReadWriteMany"),
        (["--set", "s3.mode=chart"], "plain text"),
        (["--set", "services.gateway.terminationGracePeriodSeconds=30", "--set", "services.gateway.preStopSeconds=12"], "at least 15 more"),
        (["--set", "stripeSecret=stripe"], "services.billing.internet"),
        (["--set", "mtls.source=secrets"], "name the Secret with tls.crt"),
        (["--set", "tracing.endpoint=http://collector:4318"], "networkPolicy.external.telemetry"),
    ],
)
def test_values_that_do_not_go_together_are_refused_with_the_cure(arguments: list[str], sentence: str) -> None:
    done = template(*arguments)
    assert done.returncode != 0
    assert sentence in done.stderr
