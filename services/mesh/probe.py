"""`python -m services.mesh.probe HOST:PORT`: is a gRPC service well? For containers, with the service's own certificate.

The certificate is that of the one service whose STENO_<SERVICE>_TLS_* the environment has; without any it asks in plain text.
"""

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_CERTIFICATE = re.compile(r"STENO_[A-Z]+_TLS_CERTIFICATE_FILE")


class Unasked(Exception):
    """The service cannot be asked; the message says why."""


def prefix_of(environment: Mapping[str, str]) -> str:
    """What the names of the service's settings begin with; empty without certificates. Raises Unasked for several services."""
    found = [name.removesuffix("TLS_CERTIFICATE_FILE") for name, value in environment.items() if _CERTIFICATE.fullmatch(name) and value]
    if len(found) > 1:
        raise Unasked(f"the certificates of several services are named: choose one of {', '.join(sorted(found))} with --prefix")
    return found[0] if found else ""


def read_credentials(environment: Mapping[str, str], prefix: str) -> grpc.ChannelCredentials | None:
    """Those of the service; None in plain text. Raises OSError, KeyError for a file that is not named."""
    if not environment.get(f"{prefix}TLS_CERTIFICATE_FILE"):
        return None
    names = ("AUTHORITY", "KEY", "CERTIFICATE")
    authority, key, certificate = (Path(environment[f"{prefix}TLS_{name}_FILE"]).read_bytes() for name in names)
    return grpc.ssl_channel_credentials(authority, key, certificate)


def is_well(address: str, credentials: grpc.ChannelCredentials | None, seconds: float, name: str = "") -> bool:
    """Whether the service says SERVING. name: what its certificate is for; empty for the address. Raises grpc.RpcError."""
    options = [("grpc.ssl_target_name_override", name)] if name else []
    opened = grpc.secure_channel(address, credentials, options) if credentials else grpc.insecure_channel(address)
    with opened as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=seconds)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m services.mesh.probe", description="Exits with 0 when the gRPC service is well, else with 1."
    )
    parser.add_argument("address", metavar="HOST:PORT")
    parser.add_argument("--prefix", help="of the settings with the certificate, such as STENO_JOBS_; found where there is but one")
    parser.add_argument("--name", default="", help="name in the service's certificate, where it is not HOST")
    parser.add_argument("--seconds", type=float, default=3.0, help="within which it has to answer")
    return parser.parse_args(given)


def main(given: Sequence[str], environment: Mapping[str, str]) -> int:
    """The exit status; why not on standard error."""
    arguments = _arguments(given)
    try:
        prefix = arguments.prefix if arguments.prefix is not None else prefix_of(environment)
        if is_well(arguments.address, read_credentials(environment, prefix), arguments.seconds, arguments.name):
            return 0
        print("not serving", file=sys.stderr)
    except grpc.RpcError as error:
        print(f"no answer: {error.code().name} {error.details()}", file=sys.stderr)
    except (Unasked, OSError, KeyError) as error:
        print(f"cannot ask: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
