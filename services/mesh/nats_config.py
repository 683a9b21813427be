"""The configuration of the nats-server that `steno up` and the tests start."""

import json
from pathlib import Path

_GIBIBYTE = 1024**3
_MEMORY_STORE_BYTES = 64 * 1024**2


def write_config(path: Path, port: int, store_dir: Path, max_file_store: int = 2 * _GIBIBYTE, health_port: int | None = None) -> None:
    """Write a loopback JetStream server's configuration; max_file_store in bytes, at least the streams' total;
    health_port: of its /healthz, on loopback too.

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
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
