"""What no rendering of the chart may do. Each policy yields a sentence for everything that is wrong."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import ip_network
from typing import Any

from services.mesh.egress.addresses import FORBIDDEN_IPV4, FORBIDDEN_IPV6
from tests.deploy.charts import Document, component, containers, named, selects, workloads

Policy = Callable[[Sequence[Document]], Iterator[str]]
_AMOUNTS = {"cpu", "memory", "ephemeral-storage"}
_MAY_REACH_THE_INTERNET = {"gateway", "billing", "storage", "operator"}
_IMAGE = re.compile(r"[a-z0-9./_:-]+(@sha256:[0-9a-f]{64}|:(?!latest$)[A-Za-z0-9_.-]+)")
_PASSWORD = re.compile(r"://[^/@]*:[^/@]+@")
# More addresses than any network of one's own has.
_WIDEST_OWN_PREFIX = {4: 8, 6: 7}


def root_users(documents: Sequence[Document]) -> Iterator[str]:
    """Pods and containers that are, or may become, root."""
    for document, pod in workloads(documents):
        security = pod["spec"].get("securityContext", {})
        if security.get("runAsNonRoot") is not True or not security.get("runAsUser") or not security.get("runAsGroup"):
            yield f"{named(document)} may run as root"
    for name, container in containers(documents):
        if container.get("securityContext", {}).get("runAsUser", 1) == 0:
            yield f"{name} runs as root"


def privileges(documents: Sequence[Document]) -> Iterator[str]:
    """What the restricted level of pod security refuses, and a writable root."""
    for document, pod in workloads(documents):
        yield from (f"{named(document)} has {name}" for name in ("hostNetwork", "hostPID", "hostIPC") if pod["spec"].get(name))
        if pod["spec"].get("securityContext", {}).get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{named(document)} filters no system calls"
    for name, container in containers(documents):
        security = container.get("securityContext", {})
        wanted = {"allowPrivilegeEscalation": False, "privileged": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        yield from (f"{name} has {key} {security.get(key)}" for key, value in wanted.items() if security.get(key) != value)


def missing_amounts(documents: Sequence[Document]) -> Iterator[str]:
    """Containers without requests or limits, and volumes on the node's disk without a size."""
    for name, container in containers(documents):
        for kind in ("requests", "limits"):
            missing = _AMOUNTS - set(container.get("resources", {}).get(kind, {}))
            yield from (f"{name} has no {kind} of {amount}" for amount in sorted(missing))
    for document, pod in workloads(documents):
        for volume in pod["spec"].get("volumes", []):
            if "emptyDir" in volume and not (volume["emptyDir"] or {}).get("sizeLimit"):
                yield f"{named(document)} has a volume {volume['name']} without a limit"


def missing_probes(documents: Sequence[Document]) -> Iterator[str]:
    """Containers that serve and are not asked whether they do."""
    serving = [document for document in documents if document["kind"] != "Job"]
    for name, container in containers(serving):
        yield from (f"{name} has no {probe}" for probe in ("startupProbe", "livenessProbe", "readinessProbe") if probe not in container)


def host_paths(documents: Sequence[Document]) -> Iterator[str]:
    """Volumes of the node, and ports on it."""
    for document, pod in workloads(documents):
        yield from (f"{named(document)} mounts {volume['name']}" for volume in pod["spec"].get("volumes", []) if "hostPath" in volume)
    for name, container in containers(documents):
        yield from (f"{name} takes a port of the node" for port in container.get("ports", []) if "hostPort" in port)


def loose_images(documents: Sequence[Document]) -> Iterator[str]:
    """Images that may be others tomorrow."""
    return (f"{name} runs {container['image']}" for name, container in containers(documents) if not _IMAGE.fullmatch(container["image"]))


def cluster_tokens(documents: Sequence[Document]) -> Iterator[str]:
    """Pods that get a token of the cluster's API, or variables that other Services make up."""
    for document, pod in workloads(documents):
        if pod["spec"].get("automountServiceAccountToken") is not False:
            yield f"{named(document)} gets a token"
        if pod["spec"].get("enableServiceLinks") is not False:
            yield f"{named(document)} gets variables of Services, which settings may be mistaken for"


def missing_budgets(documents: Sequence[Document]) -> Iterator[str]:
    """Deployments of several pods that a drain of nodes may take at once."""
    scaled = {document["spec"]["scaleTargetRef"]["name"] for document in documents if "scaleTargetRef" in document.get("spec", {})}
    budgets = [document["spec"]["selector"] for document in documents if document["kind"] == "PodDisruptionBudget"]
    for document, pod in workloads(documents):
        several = document["spec"].get("replicas", 1) > 1 or document["metadata"]["name"] in scaled
        if several and not any(selects(budget, pod["metadata"]["labels"]) for budget in budgets):
            yield f"{named(document)} has no PodDisruptionBudget"


def open_ports(documents: Sequence[Document]) -> Iterator[str]:
    """Ports that no policy lets anybody reach, and policies for ports that nobody opens."""
    for document, pod in workloads(documents):
        labels = pod["metadata"]["labels"]
        opened = {port["containerPort"] for container in pod["spec"]["containers"] for port in container.get("ports", [])}
        allowed = {
            port["port"]
            for policy in _policies(documents, labels)
            for rule in policy.get("ingress") or []
            for port in rule.get("ports", [])
        }
        yield from (f"{named(document)} opens {port} without a policy" for port in sorted(opened - allowed))
        yield from (f"a policy lets others reach {port} of {named(document)}" for port in sorted(allowed - opened))
        if any("ports" not in rule for policy in _policies(documents, labels) for rule in policy.get("ingress") or []):
            yield f"a policy opens every port of {named(document)}"


def undenied(documents: Sequence[Document]) -> Iterator[str]:
    """Pods without a policy that denies everything, both ways."""
    for document, pod in workloads(documents):
        policies = _policies(documents, pod["metadata"]["labels"])
        if not any(set(policy["policyTypes"]) == {"Ingress", "Egress"} and not {"ingress", "egress"} & set(policy) for policy in policies):
            yield f"{named(document)} has no policy that denies"


def one_sided_flows(documents: Sequence[Document]) -> Iterator[str]:
    """Ways between pods of the release that one end allows and the other refuses."""
    pods = [pod["metadata"]["labels"] for _, pod in workloads(documents)]
    out = {flow for labels in pods for flow in _flows(documents, labels, pods, "egress", "to")}
    into = {flow for labels in pods for flow in _flows(documents, labels, pods, "ingress", "from")}
    arrivals = {(caller, called, port) for called, caller, port in into}
    yield from (f"{caller} may connect to {called}:{port}, which refuses it" for caller, called, port in sorted(out - arrivals))
    yield from (f"{called}:{port} expects {caller}, which may not connect" for caller, called, port in sorted(arrivals - out))


def ways_out(documents: Sequence[Document]) -> Iterator[str]:
    """Ways to the internet of pods that need none, or with private networks in them."""
    for document, pod in workloads(documents):
        for policy in _policies(documents, pod["metadata"]["labels"]):
            for rule in policy.get("egress") or []:
                if not rule.get("to"):
                    yield f"{named(document)} may connect to everything"
                yield from _public_ways(named(document), component(pod), rule.get("to") or [])


def _public_ways(name: str, part: str, peers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for block in (peer["ipBlock"] for peer in peers if "ipBlock" in peer):
        network = ip_network(block["cidr"])
        if network.prefixlen >= _WIDEST_OWN_PREFIX[network.version]:
            continue
        if part not in _MAY_REACH_THE_INTERNET:
            yield f"{name} may reach the internet"
        refused = [str(forbidden) for forbidden in (FORBIDDEN_IPV4 if network.version == 4 else FORBIDDEN_IPV6)]
        yield from (f"{name} may reach {one}" for one in refused if one not in block.get("except", []))


def secrets_in_environment(documents: Sequence[Document]) -> Iterator[str]:
    """Secrets of Steno in its environment, where a crash or a child process may show them; servers of others may know no other way."""
    for name, container in containers(documents):
        if container.get("command", [""])[0] not in {"python", "steno", "sleep"}:
            continue
        for entry in container.get("env", []):
            if "valueFrom" in entry or _PASSWORD.search(str(entry.get("value", ""))):
                yield f"{name} has the secret {entry['name']} in its environment"


def _policies(documents: Sequence[Document], labels: Mapping[str, str]) -> list[Document]:
    policies = [document["spec"] for document in documents if document["kind"] == "NetworkPolicy"]
    return [policy for policy in policies if selects(policy["podSelector"], labels)]


def _flows(
    documents: Sequence[Document], labels: Mapping[str, str], pods: Sequence[Mapping[str, str]], way: str, side: str
) -> Iterator[tuple[str, str, int]]:
    """(this pod's component, the other's, port) of every rule that names pods of the release."""
    for policy in _policies(documents, labels):
        for rule in policy.get(way) or []:
            selectors = [peer["podSelector"] for peer in rule.get(side, []) if set(peer) == {"podSelector"}]
            for other in (other for other in pods if any(selects(selector, other) for selector in selectors)):
                for port in rule.get("ports", []):
                    yield labels["app.kubernetes.io/component"], other["app.kubernetes.io/component"], port["port"]


POLICIES: Mapping[str, Policy] = {
    policy.__name__: policy
    for policy in (
        *(root_users, privileges, missing_amounts, missing_probes, host_paths, loose_images, cluster_tokens, missing_budgets),
        *(open_ports, undenied, one_sided_flows, ways_out, secrets_in_environment),
    )
}
