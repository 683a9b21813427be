"""Canaries in everything that is secret or somebody's own, a mesh used and refused and killed, then a search of every sink."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from faults.campaign import Figure, Options
from faults.doors.canaries import Canaries, word
from faults.doors.declared import read_contracts
from faults.doors.sinks import Search, Sinks, listening
from faults.doors.tenants import running_tenants
from faults.doors.usage import HELLO, Usage
from faults.meshes import BUCKET, HURRIED, s3_server
from services.stack.data_directory import DataDirectory, write_private
from tests.billing.stripe_player import SECRET_KEY, WEBHOOK_SECRET
from tests.otlp import running_collector
from tests.servers import free_port

_SERVICES = ("billing", "storage", "jobs", "inference", "gateway")
_LEAST_CANARIES = 100
_SHOWN = 20


def run(options: Options) -> Sequence[Figure]:
    """One mesh that logs everything, on an S3 server whose secret is a canary too; the long form uses it five times."""
    canaries = Canaries()
    ports = {service: free_port() for service in _SERVICES}
    with ExitStack() as stack:
        collector = stack.enter_context(running_collector())
        environment = {
            **HURRIED,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_TRACES_SAMPLER": "always_on",
            "STENO_JOBS_STALE_DISPATCH_SECONDS": "5",
            **{f"STENO_{service.upper()}_LOG_LEVEL": "debug" for service in _SERVICES},
            **{f"STENO_{service.upper()}_METRICS_PORT": str(port) for service, port in ports.items()},
            **_in_s3(stack.enter_context(s3_server()), canaries),
            **_with_chat_key(options.folder, canaries),
        }
        tenants = stack.enter_context(running_tenants(options.folder, environment))
        mesh = tenants.opened.mesh
        overheard = stack.enter_context(listening(mesh))
        usage = Usage(tenants, canaries, overheard)
        _plant_the_operators(DataDirectory(mesh.data), canaries)
        usage.plant_credentials()
        contracts = asyncio.run(read_contracts(mesh))
        for _ in range(options.amount(1, 5)):
            usage.work()
            usage.be_refused(contracts)
            usage.die()
        search = Search(canaries)
        search.look(Sinks(mesh, overheard, ports, collector))
        return list(_figures(search, len(overheard.refusals)))


def _figures(search: Search, refusals: int) -> Iterator[Figure]:
    for hit in sorted(search.hits)[:_SHOWN]:
        print(f"   {hit}", flush=True)
    yield Figure("canaries", len(search.canaries.planted), at_least=_LEAST_CANARIES)
    yield Figure("kinds of canaries", len({canary.name for canary in search.canaries.planted}), at_least=20)
    yield Figure("refusals kept", refusals, at_least=100)
    for kind, size_bytes in sorted(search.read_bytes.items()):
        yield Figure(f"searched: {kind}", size_bytes, at_least=1, unit="bytes")
    yield Figure("canaries found", len(search.hits), at_most=0)


def _in_s3(url: str, canaries: Canaries) -> dict[str, str]:
    secret = word("s3-secret")
    canaries.plant("S3 secret", secret)
    return {
        "STENO_STORAGE_BLOB_STORE": "s3",
        "STENO_STORAGE_S3_BUCKET": BUCKET,
        "STENO_STORAGE_S3_ENDPOINT": url,
        "STENO_STORAGE_S3_ACCESS_KEY_ID": "test",
        "STENO_STORAGE_S3_SECRET_ACCESS_KEY": secret,
    }


def _with_chat_key(folder: Path, canaries: Canaries) -> dict[str, str]:
    """A chat endpoint where nobody answers: every summary fails on the way to it."""
    key = word("chat-key")
    canaries.plant("chat key", key)
    write_private(folder / "chat-key", key)
    chat = f"http://127.0.0.1:{free_port()}/v1"
    return {"STENO_GATEWAY_SUMMARY_CHAT_URL": chat, "STENO_GATEWAY_SUMMARY_CHAT_KEY_FILE": str(folder / "chat-key")}


def _plant_the_operators(data: DataDirectory, canaries: Canaries) -> None:
    """Keys of the installation, and of its account with the payment provider; and the sound of the sample."""
    pem = data.identity_key.read_text()
    canaries.plant("identity key", "".join(re.findall(r"^[A-Za-z0-9+/=]+$", pem, re.MULTILINE)))
    for name, path in (("pepper", data.pepper), ("claim key", data.claim_key), ("URL signing key", data.signing_key)):
        canaries.plant(name, path.read_bytes().strip())
    canaries.plant("Stripe's secret", SECRET_KEY)
    canaries.plant("Stripe's webhook secret", WEBHOOK_SECRET)
    sound = HELLO.read_bytes()
    for place in range(len(sound) // 4, len(sound) - 48, len(sound) // 4):
        canaries.plant("audio bytes", sound[place : place + 24], credential=False)
