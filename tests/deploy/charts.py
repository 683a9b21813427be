"""The chart as the real helm renders it, and what is in it."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tools.chart_values import CHART

Document = dict[str, Any]
HELM = Path(sys.executable).parent / "helm"
RELEASE, NAMESPACE = "steno", "speech"
VALUES_FILES = ("minimal", "full", "gpu")
SERVICES = ("gateway", "billing", "storage", "jobs", "inference")
_COMPONENT = "app.kubernetes.io/component"
_SECONDS = 60


@dataclass(frozen=True)
class Rendering:
    """The chart with one values file."""

    name: str
    values: Document
    documents: Sequence[Document]

    def of_kind(self, *kinds: str) -> list[Document]:
        """Documents of these kinds."""
        return [document for document in self.documents if document["kind"] in kinds]

    def one(self, kind: str, name: str) -> Document:
        """The document of that kind and name, without the release's name. Raises StopIteration."""
        return next(found for found in self.of_kind(kind) if found["metadata"]["name"] == f"{RELEASE}-{name}")

    def variables(self, service: str) -> dict[str, str]:
        """The environment of a service's container."""
        return {entry["name"]: entry["value"] for entry in container_of(self.one("Deployment", service))["env"]}


def values_file(name: str) -> Path:
    """A values file of `ci/`."""
    return CHART / "ci" / f"{name}-values.yaml"


def helm(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """What helm says."""
    return subprocess.run([str(HELM), *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False)


def template(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """The chart rendered, as at an installation."""
    return helm("template", RELEASE, str(CHART), "--namespace", NAMESPACE, *arguments)


def render(name: str, *arguments: str) -> Rendering:
    """The chart with a values file of `ci/` and these arguments. Raises ValueError when helm refuses."""
    done = template("--values", str(values_file(name)), *arguments)
    if done.returncode:
        raise ValueError(done.stderr)
    values = yaml.safe_load(values_file(name).read_text())
    return Rendering(name, values, [document for document in yaml.load_all(done.stdout, yaml.CSafeLoader) if document])


def workloads(documents: Sequence[Document]) -> Iterator[tuple[Document, Document]]:
    """Everything that makes pods, each with its pod's template."""
    for document in documents:
        if document["kind"] in {"Deployment", "StatefulSet", "Job"}:
            yield document, document["spec"]["template"]


def containers(documents: Sequence[Document]) -> Iterator[tuple[str, Document]]:
    """Every container with the names of its workload and itself."""
    for document, pod in workloads(documents):
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            yield f"{named(document)} {container['name']}", container


def container_of(workload: Document) -> Document:
    """The first container of a workload."""
    found: Document = workload["spec"]["template"]["spec"]["containers"][0]
    return found


def named(document: Document) -> str:
    """Kind and name."""
    return f"{document['kind']}/{document['metadata']['name']}"


def component(document: Document) -> str:
    """Which part of Steno an object or a pod's template belongs to."""
    return str(document["metadata"]["labels"][_COMPONENT])


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector without expressions selects an object with these labels."""
    return all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items())


def settings_of_chart(rendering: Rendering) -> dict[str, set[str]]:
    """Per service the STENO_<SERVICE>_* variables that its container is given, in its environment or as files of secrets."""
    found: dict[str, set[str]] = {}
    for service in SERVICES:
        pod = rendering.one("Deployment", service)["spec"]["template"]["spec"]
        found[service] = {
            name for name in (*rendering.variables(service), *secret_files(pod)) if name.startswith(f"STENO_{service.upper()}_")
        }
    return found


def secret_files(pod: Document) -> dict[str, tuple[str, str]]:
    """Names of the files of a pod's projected secrets, each with the Secret and the key that it comes from."""
    return {
        item["path"]: (source["secret"]["name"], item["key"])
        for volume in pod["volumes"]
        for source in volume.get("projected", {}).get("sources", [])
        for item in source["secret"]["items"]
    }
