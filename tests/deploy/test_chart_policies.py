"""No rendering breaks a policy, and every policy finds what breaks it."""

import copy
from collections.abc import Callable, Mapping

import pytest

from tests.deploy.chart_policies import POLICIES
from tests.deploy.charts import Document, Rendering, container_of

Spoil = Callable[[Document], object]


@pytest.mark.parametrize("policy", POLICIES)
def test_no_rendering_breaks_the_policy(rendering: Rendering, policy: str) -> None:
    assert list(POLICIES[policy](rendering.documents)) == []


def _pod(document: Document) -> Document:
    spec: Document = document["spec"]["template"]["spec"]
    return spec


# Policy, kind and name of what is spoilt, how, and words of what is found. The name is empty where every document of the kind is.
SPOILT: tuple[tuple[str, str, str, Spoil, str], ...] = (
    ("root_users", "Deployment", "jobs", lambda found: _pod(found)["securityContext"].update(runAsUser=0), "Deployment/steno-jobs"),
    ("root_users", "Job", "migrate", lambda found: _pod(found).pop("securityContext"), "Job/steno-migrate"),
    ("root_users", "Deployment", "jobs", lambda found: container_of(found)["securityContext"].update(runAsUser=0), "runs as root"),
    ("privileges", "Deployment", "jobs", lambda found: _pod(found).update(hostNetwork=True), "hostNetwork"),
    ("privileges", "Deployment", "jobs", lambda found: _pod(found)["securityContext"].pop("seccompProfile"), "system calls"),
    ("privileges", "Deployment", "jobs", lambda found: container_of(found)["securityContext"].update(privileged=True), "privileged"),
    ("privileges", "Deployment", "jobs", lambda found: container_of(found)["securityContext"].pop("readOnlyRootFilesystem"), "readOnly"),
    ("privileges", "Job", "migrate", lambda found: container_of(found)["securityContext"].pop("capabilities"), "capabilities"),
    ("missing_amounts", "Deployment", "jobs", lambda found: container_of(found)["resources"]["limits"].pop("memory"), "limits of memory"),
    ("missing_amounts", "Job", "migrate", lambda found: container_of(found).pop("resources"), "requests of ephemeral-storage"),
    ("missing_amounts", "Deployment", "jobs", lambda found: _pod(found)["volumes"][0].update(emptyDir={}), "without a limit"),
    ("missing_probes", "Deployment", "jobs", lambda found: container_of(found).pop("readinessProbe"), "no readinessProbe"),
    ("host_paths", "Deployment", "jobs", lambda found: _pod(found)["volumes"].append({"name": "a", "hostPath": {"path": "/"}}), "mounts a"),
    ("host_paths", "Deployment", "jobs", lambda found: container_of(found)["ports"][0].update(hostPort=80), "port of the node"),
    ("loose_images", "Deployment", "jobs", lambda found: container_of(found).update(image="steno-jobs:latest"), "latest"),
    ("loose_images", "Deployment", "jobs", lambda found: container_of(found).update(image="steno-jobs"), "steno-jobs"),
    ("cluster_tokens", "Deployment", "jobs", lambda found: _pod(found).pop("automountServiceAccountToken"), "token"),
    ("cluster_tokens", "Deployment", "jobs", lambda found: _pod(found).update(enableServiceLinks=True), "variables of Services"),
    ("missing_budgets", "PodDisruptionBudget", "jobs", lambda found: found["spec"]["selector"]["matchLabels"].update(a="b"), "steno-jobs"),
    ("missing_budgets", "PodDisruptionBudget", "gateway", lambda found: found["spec"]["selector"]["matchLabels"].update(a="b"), "gateway"),
    ("open_ports", "Deployment", "jobs", lambda found: container_of(found)["ports"].append({"containerPort": 5000}), "opens 5000"),
    ("open_ports", "Deployment", "jobs", lambda found: container_of(found)["ports"].clear(), "lets others reach 7003"),
    ("open_ports", "NetworkPolicy", "jobs", lambda found: found["spec"]["ingress"][0].pop("ports"), "every port"),
    ("undenied", "NetworkPolicy", "default-deny", lambda found: found["spec"].update(policyTypes=["Ingress"]), "no policy that denies"),
    ("undenied", "NetworkPolicy", "default-deny", lambda found: found["spec"].update(egress=[{}]), "no policy that denies"),
    ("one_sided_flows", "NetworkPolicy", "jobs", lambda found: found["spec"].update(ingress=[]), "gateway may connect to jobs:7003"),
    ("one_sided_flows", "NetworkPolicy", "gateway", lambda found: found["spec"].update(egress=[]), "jobs:7003 expects gateway"),
    (
        "ways_out",
        "NetworkPolicy",
        "jobs",
        lambda found: found["spec"]["egress"].append({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}),
        "Deployment/steno-jobs may reach the internet",
    ),
    (
        "ways_out",
        "NetworkPolicy",
        "storage",
        lambda found: [peer["ipBlock"].pop("except") for peer in found["spec"]["egress"][-1]["to"]],
        "169.254.0.0/16",
    ),
    ("ways_out", "NetworkPolicy", "jobs", lambda found: found["spec"]["egress"].append({}), "connect to everything"),
    (
        "secrets_in_environment",
        "Deployment",
        "jobs",
        lambda found: container_of(found)["env"].append({"name": "STENO_JOBS_DATABASE_URL", "value": "postgresql://steno:word@db/steno"}),
        "STENO_JOBS_DATABASE_URL",
    ),
    (
        "secrets_in_environment",
        "Job",
        "migrate",
        lambda found: container_of(found)["env"].append({"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}),
        "KEY",
    ),
)


@pytest.mark.parametrize(("policy", "kind", "name", "spoil", "words"), SPOILT)
def test_what_breaks_the_policy_is_found(
    renderings: Mapping[str, Rendering], policy: str, kind: str, name: str, spoil: Spoil, words: str
) -> None:
    spoilt = Rendering("spoilt", {}, copy.deepcopy(renderings["full"].documents))
    spoil(spoilt.one(kind, name))
    assert [sentence for sentence in POLICIES[policy](spoilt.documents) if words in sentence]


def test_every_policy_is_proven_to_find_something() -> None:
    assert {policy for policy, *_ in SPOILT} == set(POLICIES)
