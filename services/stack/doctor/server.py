"""Checks of a running server: the one that STENO_URL names."""

import json
import os

import httpx2

from services.client.api import open_api_at, server_url
from services.client.failures import CommandFailed
from services.stack.doctor.findings import Finding, ok, problem

_TIMEOUT_SECONDS = 10.0
_GET_A_KEY = "export the key that `steno up` printed, or one from `steno keys create`"


def check_server() -> Finding:
    """The server is up, and so is everything it depends on."""
    url = server_url()
    try:
        answer = httpx2.get(f"{url}/readyz", timeout=_TIMEOUT_SECONDS)
    except (httpx2.TransportError, httpx2.InvalidURL) as error:
        return problem(f"{url} does not answer: {error}", "start it with `steno up`, or correct STENO_URL")
    if answer.is_success:
        return ok(f"{url} is ready")
    return problem(f"{url} is not ready: {_down(answer)}", "read the logs of what is down")


def _down(answer: httpx2.Response) -> str:
    try:
        dependencies = json.loads(answer.read())["dependencies"]
        return ", ".join(f"{name} is {found['state']}" for name, found in dependencies.items() if found["state"] != "up")
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"status {answer.status_code}"


def check_key() -> Finding:
    """STENO_API_KEY works there."""
    key = os.environ.get("STENO_API_KEY", "").strip()
    if not key:
        return problem("STENO_API_KEY is not set", _GET_A_KEY)
    try:
        with open_api_at(server_url(), key) as api:
            me = api.get("/me")
    except CommandFailed as error:
        return problem(
            f"STENO_API_KEY does not work: {error}", "export the key that `steno up` printed, or make one with `steno keys create`"
        )
    return ok(f"STENO_API_KEY works (tier {me.get('tier')})")
