"""Request lines and headers: malformed, smuggled, endless."""

from collections.abc import Iterator

from faults.corpora.http.vector import Door, Target, Vector, head, once, refused

GET = b"GET /api/v1/me HTTP/1.1\r\nHost: a\r\n"
_MEBIBYTE = bytes(1024**2).replace(b"\0", b"a")
_NEXT = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"

LINES = {
    "not_http": b"hello\r\n\r\n",
    "tls_hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "http_0_9": b"GET /healthz\r\n\r\n",
    "http_2_preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http_1_2": b"GET /healthz HTTP/1.2\r\nHost: a\r\n\r\n",
    "http_1_10": b"GET /healthz HTTP/1.10\r\nHost: a\r\n\r\n",
    "http_11": b"GET /healthz HTTP/11\r\nHost: a\r\n\r\n",
    "version_in_lower_case": b"GET /healthz http/1.1\r\nHost: a\r\n\r\n",
    "version_of_another_protocol": b"GET /healthz ICY/1.1\r\nHost: a\r\n\r\n",
    "unknown_method": b"FROBNICATE /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "method_in_lower_case": b"get /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "space_before_method": b" GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "tabs_in_request_line": b"GET\t/healthz\tHTTP/1.1\r\nHost: a\r\n\r\n",
    "target_with_a_space": b"GET /heal thz HTTP/1.1\r\nHost: a\r\n\r\n",
    "target_without_a_slash": b"GET healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "nul_in_target": b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "control_in_target": b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute_target": b"GET http://evil.example/healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "connect": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "long_target": b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "long_query": b"GET /healthz?" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
}
HOSTS = {
    "no_host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two_hosts": GET + b"Host: b\r\n\r\n",
    "garbage_host": b"GET /healthz HTTP/1.1\r\nHost: a b/<c>\r\n\r\n",
    "host_with_user": b"GET /healthz HTTP/1.1\r\nHost: b@a\r\n\r\n",
    "empty_host": b"GET /healthz HTTP/1.1\r\nHost:\r\n\r\n",
    "long_host": b"GET /healthz HTTP/1.1\r\nHost: " + b"a" * 300 + b"\r\n\r\n",
}
LENGTHS = {
    "length_and_chunked": GET + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked_and_length": GET + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two_lengths": GET + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "same_length_twice": GET + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "negative_length": GET + b"Content-Length: -1\r\n\r\n",
    "plus_length": GET + b"Content-Length: +5\r\n\r\nabcde",
    "hex_length": GET + b"Content-Length: 0x5\r\n\r\nabcde",
    "length_with_underscore": GET + b"Content-Length: 1_0\r\n\r\nabcdeabcde",
    "length_in_other_digits": GET + "Content-Length: ٣\r\n\r\nabc".encode(),
    "length_with_a_fraction": GET + b"Content-Length: 3.0\r\n\r\nabc",
    "empty_length": GET + b"Content-Length:\r\n\r\n",
    "huge_length": GET + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "list_length": GET + b"Content-Length: 3, 3\r\n\r\nabc",
    "unknown_encoding": GET + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "encoding_after_chunked": GET + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "almost_chunked": GET + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked_with_vertical_tab": GET + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "two_encodings": GET + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked_in_1_0": b"GET /healthz HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}
HEADERS = {
    "space_before_colon": GET + b"X-Api-Key : a\r\n\r\n",
    "header_without_colon": GET + b"X-Api-Key\r\n\r\n",
    "header_without_name": GET + b": a\r\n\r\n",
    "folded_header": GET + b"X-A: b\r\n c\r\n\r\n",
    "folded_host": b"GET /healthz HTTP/1.1\r\nHost:\r\n a\r\n\r\n",
    "first_header_folded": b"GET /healthz HTTP/1.1\r\n Host: a\r\n\r\n",
    "nul_in_value": GET + b"X-A: a\0b\r\n\r\n",
    "control_in_value": GET + b"X-A: a\x01b\r\n\r\n",
    "cr_in_value": GET + b"X-A: a\rb\r\n\r\n",
    "bare_line_feed": GET + b"X-A: a\nX-B: b\r\n\r\n",
    "bare_line_feeds_only": b"GET /healthz HTTP/1.1\nHost: a\n\n",
    "bare_line_feed_ends_head": GET + b"X-A: a\r\n\n",
    "bare_carriage_returns_only": b"GET /healthz HTTP/1.1\rHost: a\r\r",
    "bad_header_name": GET + b"X(A: b\r\n\r\n",
    "header_name_in_utf_8": GET + "Clé: b\r\n\r\n".encode(),
    "nul_in_header_name": GET + b"X\0A: b\r\n\r\n",
    "101_headers": GET + b"".join(b"X-%d: a\r\n" % number for number in range(100)) + b"\r\n",
    "20000_headers": GET + b"X: a\r\n" * 20_000 + b"\r\n",
    "large_header": GET + b"X-A: " + b"a" * 40_000 + b"\r\n\r\n",
    "large_header_name": GET + b"a" * 40_000 + b": a\r\n\r\n",
    "large_head": GET + b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(60)) + b"\r\n",
}
MALFORMED = {**LINES, **HOSTS, **LENGTHS, **HEADERS}


def head_vectors(target: Target, door: Door = "gateway") -> Iterator[Vector]:
    """Everything malformed, at either door."""
    yield from refused(MALFORMED, 400, "BAD_REQUEST", door)
    yield from _endless(door)
    smuggled = {
        "second_request_smuggled_by_two_lengths": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "second_request_smuggled_by_a_folded_encoding": b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        "second_request_smuggled_by_a_line_feed": b"X: a\nContent-Length: 0\r\n\r\n",
    }
    yield from refused({name: GET + rest + _NEXT for name, rest in smuggled.items()}, 400, "BAD_REQUEST", door)


def _endless(door: Door) -> Iterator[Vector]:
    yield Vector("header_of_200_mib", [(GET + b"X-A: ", 1), (_MEBIBYTE, 200)], 400, "BAD_REQUEST", door)
    yield Vector("two_million_headers", [(GET, 1), (b"X: a\r\n" * 20_000, 100)], 400, "BAD_REQUEST", door)
    yield Vector("target_of_100_mib", [(b"GET /", 1), (_MEBIBYTE, 100)], 400, "BAD_REQUEST", door)
    yield Vector("method_of_100_mib", [(_MEBIBYTE, 100)], 400, "BAD_REQUEST", door)


def open_vectors(target: Target) -> Iterator[Vector]:
    """Heads that are odd and sound, and what is taken from them: nothing."""
    get = "GET /healthz"
    yield once("leading_empty_lines", b"\r\n" * 100 + head(get), 200)
    yield once("length_with_leading_zeros", head(get, "Content-Length: 0003") + b"abc", 200)
    yield once("chunked_in_any_case", head(get, "Transfer-Encoding: CHUNKED") + b"3\r\nabc\r\n0\r\n\r\n", 200)
    yield once("forwarded_host", head(get, "X-Forwarded-Host: evil.example", "Forwarded: host=evil.example"), 200)
    yield once("unknown_expectation", head(get, "Expect: a-miracle"), 200)
    yield once("method_override", head(get, "X-HTTP-Method-Override: DELETE"), 200)
    yield once("http_1_0", b"GET /healthz HTTP/1.0\r\n\r\n", 200)
    yield once("upgrade_to_h2c", b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n" + _NEXT, 200)
    yield once("upgrade_to_websocket", b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\n\r\n", 200)
    yield once("second_request_after_close", head(get) + _NEXT, 200)
    yield once("pipelined_pair", _NEXT + head(get), 200, answers=2)
    flood = b"GET /api/v1/me HTTP/1.1\r\nHost: a\r\nX-Api-Key: " + target.key.encode() + b"\r\n\r\n"
    yield Vector("pipelined_flood", [(flood * 100, 200)], 400, "BAD_REQUEST")
    yield once("request_id_of_a_newline", head(get, b"X-Request-Id: a%0d%0aX-Evil: 1"), 200)
    yield once("trailing_garbage_is_no_second_answer", head(get) + b"\0" * 1000, 200)
    yield once("other_cookie_and_authority", head(get, "Cookie: " + "a=b; " * 100, "Proxy-Authorization: Basic YTpi"), 200)
