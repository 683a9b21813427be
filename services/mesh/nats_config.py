"""The configuration of the nats-server that `steno up` and the tests start."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_GIBIBYTE = 1024**3
_MEMORY_STORE_BYTES = 64 * 1024**2


@dataclass(frozen=True)
class NatsTls:
    """The server's certificate, and the URIs of those who may connect."""

    certificate: Path
    key: Path
    authority: Path
    uris: Sequence[str]

    def settings(self) -> dict[str, object]:
        """Encrypted from the first byte: nats-server's own greeting would be in plain text."""
        files = {"cert_file": str(self.certificate), "key_file": str(self.key), "ca_file": str(self.authority)}
        return {
            "tls": {**files, "verify_and_map": True, "handshake_first": True, "min_version": "1.2", "timeout": 5},
            "authorization": {"users": [{"user": uri} for uri in self.uris]},
        }


def write_config(
    path: Path,
    port: int,
    store_dir: Path,
    max_file_store: int = 2 * _GIBIBYTE,
    health_port: int | None = None,
    tls: NatsTls | None = None,
) -> None:
    """Write a loopback JetStream server's configuration; max_file_store in bytes, at least the streams' total;
    health_port: of its /healthz, on loopback too; tls: for clients with certificates alone.

    Every write is synced: with the default of two minutes a power cut loses every acknowledged message since.
    """
    settings: dict[str, object] = {
        "host": "127.0.0.1",
        "port": port,
        "max_payload": 1024 * 1024,
        "jetstream": {
            "store_dir": str(store_dir),
            "sync_interval": "always",
            "max_file_store": max_file_store,
            "max_memory_store": _MEMORY_STORE_BYTES,
        },
    }
    if health_port is not None:
        settings["http"] = f"127.0.0.1:{health_port}"
    if tls is not None:
        settings |= tls.settings()
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
