"""What the chart gives to servers of others, and how it lets itself be installed and scaled."""

import asyncio
import base64
import re
import subprocess
import tomllib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest
from nats.errors import Error as NatsError
from sqlalchemy.engine import make_url

from services.billing.keys import read_pepper
from services.billing.plans_file import PlansFile
from services.inference.events import DETECTION, TRAINING, TRANSCRIPTION
from services.jobs.claim_key import read_claim_key
from services.mesh.durability import ask_nats
from services.mesh.identity import load_key
from services.mesh.nats_link import open_link
from services.stack.certificates.folder import CertificateFolder, make_certificates
from services.storage.signing import UrlSigner
from tests.deploy.charts import NAMESPACE, SERVICES, Rendering, container_of, containers, render
from tests.servers import free_port, nats_binary, wait_for_port
from tools.chart_values import CHART

ROOT = Path(__file__).resolve().parents[2]


def test_generated_keys_are_ones_that_the_services_take(renderings: Mapping[str, Rendering], tmp_path: Path) -> None:
    for key, content in renderings["minimal"].one("Secret", "keys")["data"].items():
        path = tmp_path / key
        path.touch(mode=0o600)
        path.write_bytes(base64.b64decode(content))
    assert load_key(tmp_path / "identity.pem").is_private
    assert len(read_pepper(tmp_path / "pepper")) >= 32
    assert read_claim_key(tmp_path / "claim-key").token("job")
    assert UrlSigner.from_file(tmp_path / "signing-key", "https://storage").base_url == "https://storage"


def test_the_password_of_postgres_is_that_in_its_url(renderings: Mapping[str, Rendering]) -> None:
    data = {key: base64.b64decode(value).decode() for key, value in renderings["minimal"].one("Secret", "postgres")["data"].items()}
    url = make_url(data["url"])
    assert url.password == data["password"]
    assert url.query["sslmode"] == "verify-full"
    server = renderings["minimal"].one("Certificate", "postgres")["spec"]
    assert url.host in server["dnsNames"]


def test_the_chart_s_postgres_makes_the_role_of_the_services(renderings: Mapping[str, Rendering]) -> None:
    rendering = renderings["minimal"]
    script = rendering.one("ConfigMap", "postgres")["data"]["role.sh"]
    assert script == (CHART.parents[1] / "postgres" / "role.sh").read_text()
    [container] = rendering.one("StatefulSet", "postgres")["spec"]["template"]["spec"]["containers"]
    mounted = {mount["mountPath"]: mount.get("subPath") for mount in container["volumeMounts"]}
    assert mounted["/docker-entrypoint-initdb.d/role.sh"] == "role.sh"
    assert {"name": "POSTGRES_USER", "value": "postgres"} in container["env"]


@asynccontextmanager
async def running_nats(configuration: str, folder: Path, certificates: CertificateFolder) -> AsyncIterator[tuple[int, int]]:
    """nats-server with what the chart configures, but for the places of this machine; yields its port and its monitor's."""
    port, monitor = free_port(), free_port()
    places = {
        "/etc/steno/certificates": str(certificates.root / "nats"),
        '"/data"': f'"{folder / "store"}"',
        "0.0.0.0:4222": f"127.0.0.1:{port}",
        "0.0.0.0:8222": f"127.0.0.1:{monitor}",
    }
    for there, here in places.items():
        assert there in configuration
        configuration = configuration.replace(there, here)
    (folder / "nats.conf").write_text(configuration)
    process = await asyncio.create_subprocess_exec(nats_binary(), "-c", str(folder / "nats.conf"), stderr=subprocess.DEVNULL)
    try:
        async with asyncio.timeout(20):
            await wait_for_port(port)
            await wait_for_port(monitor)
        yield port, monitor
    finally:
        process.kill()
        await process.wait()


async def test_nats_lets_the_services_in_alone_and_syncs_every_write(renderings: Mapping[str, Rendering], tmp_path: Path) -> None:
    certificates = CertificateFolder(tmp_path / "certificates")
    make_certificates(certificates, hosts=["steno-nats"])
    configuration = renderings["minimal"].one("ConfigMap", "nats")["data"]["nats.conf"]
    async with running_nats(configuration, tmp_path, certificates) as (port, monitor):
        for identity in SERVICES:
            async with open_link(f"tls://localhost:{port}", name=identity, tls=certificates.open(identity)) as link:
                assert (await link.client.jetstream().account_info()).streams == 0
        with pytest.raises((NatsError, OSError)):
            await nats.connect(
                f"tls://localhost:{port}",
                tls=certificates.open("operator").client_context(),
                tls_handshake_first=True,
                allow_reconnect=False,
                max_reconnect_attempts=0,
                connect_timeout=5,
            )
        assert await ask_nats("STENO_JOBS_NATS_MONITOR_URL", f"http://127.0.0.1:{monitor}") == []


def test_plans_are_ones_that_billing_takes(renderings: Mapping[str, Rendering], tmp_path: Path) -> None:
    text = renderings["full"].one("ConfigMap", "plans")["data"]["plans.toml"]
    assert PlansFile.model_validate(tomllib.loads(text)).default == "team"


@pytest.mark.parametrize("name", ["full", "gpu"])
def test_work_that_waits_brings_workers_by_the_queues_that_they_take_from(renderings: Mapping[str, Rendering], name: str) -> None:
    triggers = [trigger["metadata"] for trigger in renderings[name].of_kind("ScaledObject")[0]["spec"]["triggers"]]
    queues = {(work.stream.name, work.name) for work in (TRANSCRIPTION, TRAINING, DETECTION)}
    assert {(trigger["stream"], trigger["consumer"]) for trigger in triggers} == queues
    assert "replicas" not in renderings[name].one("Deployment", "inference")["spec"]


def test_scalers_set_the_number_of_pods_alone(rendering: Rendering) -> None:
    scaled = {found["spec"]["scaleTargetRef"]["name"] for found in rendering.of_kind("HorizontalPodAutoscaler", "ScaledObject")}
    for found in rendering.of_kind("Deployment"):
        assert ("replicas" in found["spec"]) == (found["metadata"]["name"] not in scaled), found["metadata"]["name"]


def test_every_identity_has_one_uri_and_the_names_that_callers_use(renderings: Mapping[str, Rendering]) -> None:
    leaves = [found["spec"] for found in renderings["minimal"].of_kind("Certificate") if not found["spec"].get("isCA")]
    identities = {spec["uris"][0] for spec in leaves if len(spec["uris"]) == 1}
    assert identities == {f"spiffe://steno/{name}" for name in (*SERVICES, "operator", "nats", "postgres")}
    names = {name for spec in leaves for name in spec["dnsNames"]}
    for service in renderings["minimal"].of_kind("Service"):
        assert service["metadata"]["name"] in names
        assert f"{service['metadata']['name']}.{NAMESPACE}.svc" in names
    # The probe in the container asks there.
    assert all(spec["ipAddresses"] == ["127.0.0.1"] for spec in leaves)


def test_migrations_come_before_the_services_where_postgres_is_there_before_them(renderings: Mapping[str, Rendering]) -> None:
    hook = renderings["full"].one("Job", "migrate")
    assert hook["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert container_of(hook)["command"] == ["steno", "migrate"]
    # A hook before the installation can use nothing that the installation brings.
    brought = {document["metadata"]["name"] for document in renderings["full"].documents if document is not hook}
    volumes = hook["spec"]["template"]["spec"]["volumes"]
    sources = [source["secret"]["name"] for volume in volumes for source in volume.get("projected", {}).get("sources", [])]
    assert sources == ["steno-databases"] * 3
    assert not brought & {*sources, hook["spec"]["template"]["spec"].get("serviceAccountName", "default")}


def test_the_chart_s_own_postgres_is_migrated_with_the_first_release_and_before_later_ones(
    renderings: Mapping[str, Rendering],
) -> None:
    first = renderings["minimal"].of_kind("Job")[0]
    assert "annotations" not in first["metadata"]
    assert first["spec"]["backoffLimit"] >= 10
    later = render("minimal", "--is-upgrade").of_kind("Job")[0]
    assert later["metadata"]["annotations"]["helm.sh/hook"] == "pre-upgrade"
    assert later["metadata"]["name"] != first["metadata"]["name"]


def test_the_operator_image_migrates_and_each_service_runs_its_own(renderings: Mapping[str, Rendering]) -> None:
    images = dict(containers(renderings["full"].documents))
    assert images["Job/steno-migrate migrate"]["image"] == "registry.example.com/speech/steno-operator:0.1.0"
    assert images["Deployment/steno-jobs jobs"]["image"] == "registry.example.com/speech/steno-jobs:0.1.0"
    assert images["Deployment/steno-gateway gateway"]["image"] == "registry.example.com/speech/steno-gateway@sha256:" + "1" * 64
    assert dict(containers(renderings["gpu"].documents))["Deployment/steno-inference inference"]["image"] == "steno-trainer:0.1.0"
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    for target in (*SERVICES, "operator", "trainer", "all"):
        assert re.search(rf"^FROM \S+ AS {target}$", dockerfile, re.MULTILINE)


def test_servers_of_others_are_those_of_the_images_file(renderings: Mapping[str, Rendering]) -> None:
    pinned = (ROOT / "deploy" / "images.env").read_text()
    for name, container in containers(renderings["gpu"].documents):
        if name.startswith("StatefulSet/"):
            assert re.search(rf"^[A-Z0-9]+_IMAGE={re.escape(container['image'])}(@sha256:[0-9a-f]{{64}})?$", pinned, re.MULTILINE), name


def test_triton_is_reached_with_certificates_and_controlled_by_a_secret(renderings: Mapping[str, Rendering]) -> None:
    arguments = container_of(renderings["gpu"].one("Deployment", "triton"))["args"]
    assert {"--grpc-use-ssl=true", "--grpc-use-ssl-mutual=true"} <= set(arguments)
    assert "--grpc-restricted-protocol=model-repository:$(STENO_TRITON_CONTROL_HEADER)" in arguments
    given = renderings["gpu"].variables("inference")
    assert given["STENO_INFERENCE_TRITON_TLS"] == "true"
    assert given["STENO_INFERENCE_TRITON_ADDRESS"] == "steno-triton:8001"
    limits = container_of(renderings["gpu"].one("Deployment", "triton"))["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == 1


def test_the_ways_in_lead_to_the_gateway_s_public_port(renderings: Mapping[str, Rendering]) -> None:
    offered = {port["name"]: port["port"] for port in renderings["full"].one("Service", "gateway")["spec"]["ports"]}
    backend = renderings["full"].of_kind("HTTPRoute")[0]["spec"]["rules"][0]["backendRefs"]
    assert backend == [{"name": "steno-gateway", "port": offered["http"]}]
    rules = renderings["full"].of_kind("Ingress")[0]["spec"]["rules"]
    assert [rule["host"] for rule in rules] == ["api.example.com", "icana.example.com"]
    services = [path["backend"]["service"] for rule in rules for path in rule["http"]["paths"]]
    assert services == [{"name": "steno-gateway", "port": {"name": "http"}}] * 2


def test_storage_on_a_volume_of_one_node_is_never_two_pods(renderings: Mapping[str, Rendering]) -> None:
    assert renderings["minimal"].one("Deployment", "storage")["spec"]["strategy"] == {"type": "Recreate"}
    assert renderings["full"].one("Deployment", "storage")["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
