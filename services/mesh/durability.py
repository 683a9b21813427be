"""Whether nats-server keeps what it acknowledges, asked of its monitor before production relies on it."""

import ssl
from pathlib import Path
from typing import Any

import httpx2

from services.mesh.weaknesses import Weakness

_ANSWER_SECONDS = 3.0
_LARGEST_ANSWER_BYTES = 1024 * 1024


class NoAnswer(Exception):
    """A server does not answer, or not yet; the message says why."""


async def ask_nats(setting: str, url: str, authority_file: Path | None = None) -> list[Weakness]:
    """What of the bus's acknowledged messages a power cut could undo. url: of nats-server's monitor.

    authority_file: whom to trust where it is https; None for the machine's authorities. Raises NoAnswer, OSError.
    """
    trust = ssl.create_default_context(cafile=str(authority_file)) if authority_file and url.startswith("https:") else True
    try:
        async with httpx2.AsyncClient(timeout=_ANSWER_SECONDS, trust_env=False, verify=trust) as client:
            answer = await client.get(f"{url.rstrip('/')}/varz")
            found = answer.raise_for_status().json() if len(answer.content) <= _LARGEST_ANSWER_BYTES else None
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        raise NoAnswer(f"{type(error).__name__}: {error}") from error
    if not isinstance(found, dict) or "server_id" not in found:
        raise NoAnswer("this is no monitor of nats-server")
    return [Weakness(f"{setting}: {fault}", "bus_durability") for fault in _nats_faults(found)]


def _nats_faults(varz: dict[str, Any]) -> list[str]:
    """As nats-server 2.15 tells it: `sync_interval` in nanoseconds, and `sync_always` only where every write is synced."""
    config = varz.get("jetstream", {}).get("config")
    if not config:
        return ["JetStream is off; turn it on with `jetstream { store_dir: … }`"]
    if config.get("sync_always") is True:
        return []
    interval_seconds = config.get("sync_interval", 0) / 1e9
    return [
        f"nats-server syncs every {interval_seconds:g} s, and a power cut loses what it acknowledged since;"
        " set `sync_interval: always` in its jetstream block"
    ]
