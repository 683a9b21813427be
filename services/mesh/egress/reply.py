"""One reply: its head judged, its body counted."""

import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from urllib.parse import urljoin

import httpcore2

from services.mesh.egress.addresses import NetworkPolicy
from services.mesh.egress.urls import Target, parse_url
from services.mesh.egress.wire import Meter
from services.mesh.errors import FetchBlocked, FetchFailed, InvalidUrl

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DIGITS = re.compile(r"[0-9]{1,19}")
_HAS_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
# What urljoin would silently drop or a browser would read as something else.
_UNFIT_LOCATION = re.compile(r"[\x00-\x20\x7f\\]")


class ReplyTooLarge(Exception):
    """The body has more bytes than asked for."""


class Reply:
    """A reply with status 200. `target` is where it came from in the end; `headers` have lower-case names.

    Made only if its announced length is within the limit; raises ReplyTooLarge.
    """

    def __init__(self, target: Target, headers: Mapping[str, str], response: httpcore2.Response, meter: Meter, max_bytes: int) -> None:
        self.target = target
        self.headers = headers
        self._response = response
        self._meter = meter
        self._max_bytes = max_bytes
        announced = headers.get("content-length", "")
        self.content_length = int(announced) if _DIGITS.fullmatch(announced) else None
        if (self.content_length or 0) > max_bytes:
            raise ReplyTooLarge

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes. Raises FetchFailed when it is cut short or too slow, ReplyTooLarge."""
        self._meter.begin_body(self._max_bytes)
        size_bytes = 0
        with translated():
            async with aclosing(self._response.aiter_stream()) as parts:
                async for part in parts:
                    size_bytes += len(part)
                    if size_bytes > self._max_bytes:
                        raise ReplyTooLarge
                    self._meter.check_time()
                    yield part


@contextmanager
def translated() -> Iterator[None]:
    """What the network and the HTTP library raise, as the one error that tells nothing."""
    try:
        yield
    except (OSError, UnicodeError, httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException) as error:
        raise FetchFailed from error


def plain_headers(response: httpcore2.Response) -> dict[str, str]:
    """The headers by lower-case name; of repeated ones the last. Raises UnicodeError."""
    return {name.decode("ascii").lower(): value.decode("utf-8", "replace") for name, value in response.headers}


def read_headers(response: httpcore2.Response) -> dict[str, str]:
    """The headers of a body that comes as it is. Raises FetchFailed for an encoded one, UnicodeError."""
    headers = plain_headers(response)
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise FetchFailed
    return headers


def next_target(here: Target, response: httpcore2.Response, policy: NetworkPolicy) -> Target:
    """Where a redirect leads. Raises FetchBlocked for what may not be followed, FetchFailed without a location."""
    locations = [value for name, value in response.headers if name.lower() == b"location"]
    if not locations:
        raise FetchFailed
    try:
        location = locations[0].decode()
        if len(locations) > 1 or _UNFIT_LOCATION.search(location):
            raise FetchBlocked
        # urljoin reads `http:///x` and `http:x` as relative to an http page; only references without a scheme are given to it.
        there = parse_url(location if _HAS_SCHEME.match(location) else urljoin(str(here), location), policy)
    except (InvalidUrl, ValueError) as error:
        raise FetchBlocked from error
    if here.scheme == "https" and there.scheme != "https":
        raise FetchBlocked
    return there
