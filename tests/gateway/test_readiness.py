"""A gateway stays ready while replicas of its peers come and go."""

from contextlib import AsyncExitStack
from pathlib import Path

from grpc_health.v1 import health_pb2

from services.gateway.readiness import is_healthy
from services.mesh.channel import open_channel
from services.mesh.identity import TokenSigner, TokenVerifier, load_key, write_new_key
from services.mesh.server import GrpcServer, open_server
from services.mesh.settings import ServiceSettings, settings_config

NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Settings(ServiceSettings):
    """Settings of the peers."""

    model_config = settings_config("STENO_TEST_")


async def test_one_replica_that_leaves_does_not_make_its_service_unhealthy(tmp_path: Path) -> None:
    write_new_key(tmp_path / "identity.pem")
    key = load_key(tmp_path / "identity.pem")
    async with AsyncExitStack() as stack:
        replicas: list[GrpcServer] = []
        for _ in range(2):
            opening = open_server(Settings(), TokenVerifier(key, "jobs"), authenticate=None, servicers=[])
            replicas.append(await stack.enter_async_context(opening))
        address = "ipv4:" + ",".join(f"127.0.0.1:{replica.port}" for replica in replicas)
        channel = await stack.enter_async_context(open_channel(address, audience="jobs", signer=TokenSigner(key, "gateway")))
        await replicas[0].health.set("", NOT_SERVING)
        assert [await is_healthy(channel) for _ in range(4)] == [True] * 4
        await replicas[1].health.set("", NOT_SERVING)
        assert not await is_healthy(channel)
