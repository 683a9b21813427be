"""Host names that stand for one contract: a client written for it changes nothing but the host."""

from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

CONTRACTS = frozenset({"whipscribe", "relay", "icana", "actionvibe", "openai"})
_SHARED = frozenset({"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"})
_SHARED_BELOW = "/docs/"


def read_contract_hosts(text: str) -> dict[str, str]:
    """From "host=contract,host=contract" to contract by host, in lower case. Raises ValueError."""
    hosts: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        host, mark, contract = (part.strip().lower() for part in entry.partition("="))
        if not (host and mark) or contract not in CONTRACTS:
            raise ValueError(f"{entry!r} is not HOST=CONTRACT with one of {', '.join(sorted(CONTRACTS))}")
        hosts[host] = contract
    return hosts


class ContractHosts:
    """Puts the contract's own prefix before the path of a request to one of its hosts."""

    def __init__(self, app: ASGIApp, hosts: Mapping[str, str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._hosts:
            contract = self._hosts.get(_host(scope))
            path = scope["path"]
            if contract is not None and path not in _SHARED and not path.startswith((f"/{contract}/", _SHARED_BELOW)):
                raw = scope.get("raw_path") or path.encode()
                scope = {**scope, "path": f"/{contract}{path}", "raw_path": f"/{contract}".encode() + raw}
        await self._app(scope, receive, send)


def _host(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"host":
            text: str = value.decode("latin-1").lower()
            host, _, port = text.rpartition(":")
            return host if host and port.isdigit() else text
    return ""
