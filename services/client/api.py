"""The REST API over one connection pool: every refusal and every lost connection becomes a CommandFailed."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, BinaryIO
from urllib.parse import quote, urljoin

import httpx2

from services.client.failures import CommandFailed, Refused, Unreachable

DEFAULT_URL = "http://127.0.0.1:8080"
CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0
# A silent stream longer than this has lost its server: it sends a comment every 15 s.
STREAM_READ_SECONDS = 45.0
_MAX_ERROR_BYTES = 64 * 1024
_PAGE_SIZE = 100
_KEY_HEADER = "X-API-Key"
_WRONG_ADDRESS = (httpx2.UnsupportedProtocol, httpx2.InvalidURL)

Row = dict[str, Any]


@dataclass(frozen=True)
class Event:
    """One server-sent event. data: its JSON object, empty for anything else."""

    id: str
    data: Row


class Api:
    """Calls of the native contract, below /api/v1."""

    def __init__(self, client: httpx2.Client, url: str) -> None:
        self._client = client
        self.url = url

    def get(self, path: str, **query: str | int) -> Any:
        """The JSON answer of a GET. Raises Refused or Unreachable."""
        return self._json("GET", path, params=query)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON answer of a POST. Raises Refused or Unreachable."""
        return self._json("POST", path, json=body)

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON answer of a PATCH. Raises Refused or Unreachable."""
        return self._json("PATCH", path, json=body)

    def pages(self, path: str, **query: str | int) -> Iterator[Row]:
        """Every row of a list that comes in pages. Raises Refused or Unreachable."""
        for page in count(1):
            answer = self.get(path, **query, page=page, page_size=_PAGE_SIZE)
            yield from answer["items"]
            if not answer.get("has_more"):
                return

    def delete(self, path: str) -> None:
        """DELETE something. Raises Refused or Unreachable."""
        with self.stream("DELETE", path):
            pass

    def _json(self, method: str, path: str, **request: Any) -> Any:
        with self.stream(method, path, **request) as response:
            return read_json(response)

    @contextmanager
    def stream(self, method: str, path: str, **request: Any) -> Iterator[httpx2.Response]:
        """An accepted answer whose body is still to be read. Raises Refused or Unreachable."""
        with self._reached(), self._client.stream(method, f"/api/v1{path}", **request) as response:
            if not response.is_success:
                raise _refusal(response)
            yield response

    def post_form(self, url: str, fields: Mapping[str, str], name: str, body: BinaryIO, timeout: httpx2.Timeout) -> None:
        """POST a file with the fields of its form; url: absolute, or to be resolved against the server's. Sends no key.

        Raises Refused or Unreachable.
        """
        target, files = urljoin(f"{self.url}/", url), {"file": (name, body)}
        with self._reached():
            request = self._client.build_request("POST", target, data=fields, files=files, timeout=timeout)
            # The form is the permission, and the store may be somebody else's.
            del request.headers[_KEY_HEADER]
            with closing(self._client.send(request, stream=True)) as response:
                if not response.is_success:
                    raise _refusal(response)

    def events(self, path: str, last_event_id: str) -> Iterator[Event]:
        """Server-sent events after the given one, until the server closes the stream. Raises Refused or Unreachable."""
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        timeout = httpx2.Timeout(STREAM_READ_SECONDS, connect=CONNECT_SECONDS)
        with self._reached(), self._client.sse(f"/api/v1{path}", headers=headers, timeout=timeout) as source:
            if not source.response.is_success:
                raise _refusal(source.response)
            for event in source:
                yield Event(event.id, _object(event.data))

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except _WRONG_ADDRESS as error:
            raise CommandFailed(f"STENO_URL={self.url} is not an http or https address.") from error
        except httpx2.ConnectError as error:
            raise Unreachable(f"No Steno server answers at {self.url}. Start one with `steno up`, or set STENO_URL.") from error
        except httpx2.TimeoutException as error:
            raise Unreachable(f"{self.url} did not answer in time.") from error
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise Unreachable(f"The connection to {self.url} broke: {error}") from error


@contextmanager
def open_api() -> Iterator[Api]:
    """The server named by STENO_URL, with STENO_API_KEY. Raises CommandFailed without a key."""
    url = server_url()
    key = os.environ.get("STENO_API_KEY", "").strip()
    if not key:
        raise CommandFailed("STENO_API_KEY is not set: export the key that `steno up` printed, or one from `steno keys create`.")
    with open_api_at(url, key) as api:
        yield api


@contextmanager
def open_api_at(url: str, key: str) -> Iterator[Api]:
    """A server and a key to use there. Raises CommandFailed when either cannot be sent."""
    if not key.isascii() or not key.isprintable():
        raise CommandFailed("STENO_API_KEY holds characters that no key has.")
    timeout = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    try:
        client = httpx2.Client(base_url=url, headers={_KEY_HEADER: key}, timeout=timeout)
    except _WRONG_ADDRESS as error:
        raise CommandFailed(f"STENO_URL={url} is not an http or https address.") from error
    with client:
        yield Api(client, url)


def job_path(job_id: str) -> str:
    """The path of a job, whatever characters the id has."""
    return f"/jobs/{quote(job_id, safe='')}"


def server_url() -> str:
    """STENO_URL, or the address that `steno up` has by itself."""
    return (os.environ.get("STENO_URL", "").strip() or DEFAULT_URL).rstrip("/")


def read_json(response: httpx2.Response) -> Any:
    """The whole body as JSON. Raises CommandFailed when it is something else."""
    try:
        return json.loads(response.read())
    except ValueError as error:
        raise CommandFailed(f"{response.url} did not answer with JSON; is it a Steno server?") from error


def _refusal(response: httpx2.Response) -> Refused:
    body = _object(_read_at_most(response, _MAX_ERROR_BYTES).decode(errors="replace"))
    sentence = body.get("error") or body.get("detail")
    if not isinstance(sentence, str):
        sentence = f"{response.url} answered {response.status_code} without saying why; is it a Steno server?"
    return Refused(sentence, str(body.get("code") or ""), response.status_code, _retry_after_seconds(response))


def _read_at_most(response: httpx2.Response, limit: int) -> bytes:
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > limit:
            break
    return bytes(body[:limit])


def _retry_after_seconds(response: httpx2.Response) -> float:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else 0.0


def _object(text: str) -> Row:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
