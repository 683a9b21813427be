"""Whether Triton answers."""

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.mesh.tls.certificates import Certificates
from services.mesh.tls.channel import make_channel

_SECONDS = 2.0


async def is_ready(address: str, tls: Certificates | None = None) -> bool:
    """Whether the server at host:port, or a socket, has loaded its models and answers calls."""
    async with make_channel(address, [("grpc.ssl_target_name_override", "localhost")] if tls else [], tls) as channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=_SECONDS)
        except grpc.aio.AioRpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
