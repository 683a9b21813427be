"""JSON that is none, or not what was asked for."""

from collections.abc import Iterator, Mapping

from faults.corpora.http.vector import Target, Vector, once, whole

_JSON = "Content-Type: application/json"
_DEEP = 5000
# No JSON object: BAD_REQUEST wherever JSON is read.
MALFORMED: Mapping[str, bytes] = {
    "empty": b"",
    "null": b"null",
    "array": b"[]",
    "string": b'"x"',
    "number": b"1",
    "cut_off": b'{"name": "n"',
    "trailing_garbage": b'{"name": "n"} x',
    "two_documents": b'{"name": "n"}{"name": "n"}',
    "trailing_comma": b'{"name": "n",}',
    "comment": b'{"name": "n" /* c */}',
    "single_quotes": b"{'name': 'n'}",
    "nan": b'{"name": "n", "x": NaN}',
    "infinity": b'{"name": "n", "x": -Infinity}',
    "number_of_5000_digits": b'{"name": "n", "x": ' + b"9" * 5000 + b"}",
    "depth_of_33": b'{"name": "n", "x": ' + b"[" * 32 + b"]" * 32 + b"}",
    "depth_of_5000": b'{"x": ' + b"[" * _DEEP + b"]" * _DEEP + b"}",
    "depth_of_100000": b"[" * 100_000,
    "depth_of_5000_objects": b'{"a":' * _DEEP + b"1" + b"}" * _DEEP,
    "byte_order_mark": b'\xef\xbb\xbf{"name": "n"}',
    "utf_16": '{"name": "n"}'.encode("utf-16"),
    "utf_32": '{"name": "n"}'.encode("utf-32"),
    "latin_1": b'{"name": "\xe9"}',
    "overlong_utf_8": b'{"name": "\xc0\xaf"}',
    "lone_surrogate": b'{"name": "\\ud800"}',
    "lone_surrogate_in_a_key": b'{"name": "n", "\\udfff": 1}',
    "raw_newline_in_string": b'{"name": "a\nb"}',
    "300_kb": b'{"name": "n", "x": "' + b"a" * 300_000 + b'"}',
    "no_json": b"name=n",
}
# A JSON object with wrong fields.
WRONG: Mapping[str, bytes] = {
    "no_field": b"{}",
    "wrong_type": b'{"name": 1}',
    "null_for_text": b'{"name": null}',
    "array_for_text": b'{"name": ["n"]}',
    "empty_text": b'{"name": ""}',
    "text_of_10_kb": b'{"name": "' + b"n" * 10_000 + b'"}',
    "nul_in_text": b'{"name": "a\\u0000b"}',
    "text_for_a_flag": b'{"name": "n", "test": "yes"}',
    "number_for_a_flag": b'{"name": "n", "test": 1}',
    "unknown_scope": b'{"name": "n", "scopes": ["root"]}',
    "time_in_the_past": b'{"name": "n", "expires_at": "2001-01-01T00:00:00Z"}',
    "time_as_a_number": b'{"name": "n", "expires_at": 9223372036854775807}',
    "time_past_the_last_year": b'{"name": "n", "expires_at": "9999-12-31T23:59:59-14:00"}',
    "number_past_all_floats": b'{"name": 1e400}',
    "last_of_two_names": b'{"name": "n", "name": 1}',
}


def document_vectors(target: Target) -> Iterator[Vector]:
    """Each wherever JSON is read."""
    key, start = f"X-API-Key: {target.key}", "POST /api/v1/auth/api-keys"
    for name, body in MALFORMED.items():
        yield once(f"json_{name}", whole(start, body, key, _JSON), 400, "BAD_REQUEST")
    for name, body in WRONG.items():
        yield once(f"json_{name}", whole(start, body, key, _JSON), 422, "BAD_FIELD")
    for number, kind in enumerate(("text/plain", "application/jsonp", "application/x-www-form-urlencoded", "")):
        yield once(f"json_as_type_{number}", whole(start, b'{"name": "n"}', key, f"Content-Type: {kind}"), 400, "BAD_REQUEST")
    yield once("json_without_type", whole(start, b'{"name": "n"}', key), 400, "BAD_REQUEST")
    large = [(whole(start, b"", key, _JSON).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"), 1)]
    yield Vector("json_of_50_mib", [*large, (b"100000\r\n" + b" " * 2**20 + b"\r\n", 50)], 400, "BAD_REQUEST")
    yield from _of_urls(key)
    yield from _of_uploads(key)
    yield from _of_claims(key)
    yield from _of_payments(target)


def _of_urls(key: str) -> Iterator[Vector]:
    start = "POST /api/v1/transcribe/url"
    yield once("url_order_that_is_no_json", whole(start, b"{", key, _JSON), 400, "BAD_REQUEST")
    yield once("url_order_without_url", whole(start, b"{}", key, _JSON), 422, "BAD_FIELD")
    yield once("url_that_is_a_number", whole(start, b'{"url": 1}', key, _JSON), 422, "BAD_FIELD")
    yield once("url_that_is_empty", whole(start, b'{"url": ""}', key, _JSON), 400, "BAD_URL")
    yield once("url_of_a_file", whole(start, b'{"url": "file:///etc/passwd"}', key, _JSON), 400, "BAD_URL")
    yield once("url_with_nul", whole(start, b'{"url": "http://a.example/\\u0000"}', key, _JSON), 400, "BAD_URL")
    yield once("url_of_200_kb", whole(start, b'{"url": "http://a.example/' + b"a" * 200_000 + b'"}', key, _JSON), 400, "BAD_URL")
    yield once("url_order_of_unknown_source", whole(start, b'{"url": "http://a.example/", "source": []}', key, _JSON), 422, "BAD_SOURCE")


def _of_uploads(key: str) -> Iterator[Vector]:
    start = "POST /api/v1/uploads/init"
    yield once("upload_of_no_bytes", whole(start, b'{"filename": "a", "size_bytes": 0}', key, _JSON), 422, "BAD_FIELD")
    large = b'{"filename": "a", "size_bytes": 9223372036854775808}'
    yield once("upload_of_2_to_the_63", whole(start, large, key, _JSON), 413, "FILE_TOO_LARGE")
    yield once("upload_of_a_fraction", whole(start, b'{"filename": "a", "size_bytes": 1.5}', key, _JSON), 422, "BAD_FIELD")
    yield once("upload_with_nul_in_its_name", whole(start, b'{"filename": "a\\u0000b", "size_bytes": 1}', key, _JSON), 202)
    yield once("upload_of_2_kb_of_name", whole(start, b'{"filename": "' + b"a" * 2000 + b'"}', key, _JSON), 422, "BAD_FIELD")


def _of_claims(key: str) -> Iterator[Vector]:
    """Whoever has not signed in claims nothing, whatever it sends."""
    for name, body in {"no_json": b"{", "list": b"[]", "many": b'{"claim_tokens": [' + b'"a",' * 10_000 + b'"a"]}'}.items():
        yield once(f"claim_of_{name}", whole("POST /api/v1/jobs/claim", body, key, _JSON), 401, "AUTHENTICATION_REQUIRED")


def _of_payments(target: Target) -> Iterator[Vector]:
    """Open to everybody, for its signature is its permission."""
    start = "POST /api/v1/payments/stripe/events"
    yield once("payment_event_of_100_kb", whole(start, b"{" + b" " * 100_000, _JSON), 400, "BAD_REQUEST")
    yield once("payment_event_where_nothing_is_sold", whole(start, b"{}", _JSON, "Stripe-Signature: t=1,v1=00"), 409, "PAYMENTS_DISABLED")
