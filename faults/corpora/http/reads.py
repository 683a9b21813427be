"""Keys, ids, queries, paths, methods, ranges, and the same refusals in every dialect."""

from collections.abc import Iterator, Mapping
from uuid import UUID

from faults.corpora.http.vector import Target, Vector, head, once, whole

_FORM = "Content-Type: multipart/form-data; boundary=b"
_STRANGE = UUID("0192f0c1-0000-7000-8000-00000000dead")
IDS: Mapping[str, str] = {
    "no_uuid": "abc",
    "number": "1",
    "braces": f"%7B{_STRANGE}%7D",
    "urn": f"urn:uuid:{_STRANGE}",
    "no_dashes": _STRANGE.hex,
    "nul": "%00",
    "nul_behind": f"{_STRANGE}%00",
    "newline_behind": f"{_STRANGE}%0a",
    "space_before": f"%20{_STRANGE}",
    "other_digits": "%D9%A3" + str(_STRANGE)[1:],
    "sql": "'%20OR%201=1--",
    "5000_letters": "a" * 5000,
}
_NUMBERS = ("0", "-1", "101", "1000000000", "9223372036854775808", "9" * 5000, "1_0", "%D9%A3", "1.5", "abc", "", "%2B5", "0x5", "5%00")
NOWHERE = ("/", "//", "/api/v1", "/api/v1/", "/api/v1/me/", "/api/v1//me", "/API/v1/me", "/api/v1/me;a=b", "/api/v1/..%2f..%2fetc/passwd")
MORE_NOWHERE = ("/api/v1/../v1/me", "/api/v1/%6de%00", "/api/v2/me", "/%zz", "/%ff", "//evil.example/api/v1/me", "/.env", "/api/v1/jobs/")


def key_vectors(target: Target) -> Iterator[Vector]:
    """Whoever does not show a key that holds is told so, and nothing else."""
    start = "GET /api/v1/me"
    bad = {
        "unknown": ["X-API-Key: sk_live_nobody"],
        "of_10_kb": ["X-API-Key: " + "a" * 10_000],
        "not_ascii": ["X-API-Key: é"],
        "given_twice_with_another": [f"X-API-Key: {target.key}", "X-API-Key: sk_live_nobody"],
        "cut_short": [f"X-API-Key: {target.key[:-1]}"],
        "with_a_letter_more": [f"X-API-Key: {target.key}a"],
        "in_other_case": [f"X-API-Key: {target.key.swapcase()}"],
        "in_quotes": [f'X-API-Key: "{target.key}"'],
        "revoked": [f"X-API-Key: {target.revoked_key}"],
        "as_bearer": ["Authorization: Bearer sk_live_nobody"],
    }
    for name, headers in bad.items():
        yield once(f"key_{name}", head(start, *headers), 401, "INVALID_API_KEY")
    yield once("no_key", head(start), 401, "MISSING_API_KEY")
    yield once("empty_key", head(start, "X-API-Key:"), 401, "MISSING_API_KEY")
    yield once("key_in_query", head(f"{start}?api_key={target.key}"), 401, "MISSING_API_KEY")
    yield once("key_in_cookie", head(start, f"Cookie: X-API-Key={target.key}"), 401, "MISSING_API_KEY")
    yield once("token_that_is_none", head(start, "Authorization: Bearer eyJhbGciOiJub25lIn0.e30."), 401, "INVALID_TOKEN")
    yield once("key_with_space_around", head(start, f"X-API-Key:  {target.key}\t "), 200)
    body = whole("POST /api/v1/transcribe", b"--b--\r\n", f"X-API-Key: {target.read_key}", _FORM)
    yield once("key_that_may_only_read", body, 403, "FORBIDDEN")
    yield from _idempotency_vectors(target)


def _idempotency_vectors(target: Target) -> Iterator[Vector]:
    bad = {
        "empty": ["Idempotency-Key:"],
        "of_256": ["Idempotency-Key: " + "a" * 256],
        "with_a_space": ["Idempotency-Key: a b"],
        "with_a_tab": ["Idempotency-Key: a\tb"],
        "with_a_quote": ['Idempotency-Key: "a"'],
        "not_ascii": ["Idempotency-Key: é"],
        "list": ["Idempotency-Key: a,b"],
        "given_twice": ["Idempotency-Key: a", "Idempotency-Key: a"],
    }
    for name, headers in bad.items():
        request = whole("POST /api/v1/transcribe", b"--b--\r\n", f"X-API-Key: {target.key}", _FORM, *headers)
        yield once(f"idempotency_key_{name}", request, 400, "BAD_IDEMPOTENCY_KEY")
    longest = f"Idempotency-Key: {'a' * 255}"
    request = whole("POST /api/v1/transcribe", b"--b--\r\n", f"X-API-Key: {target.key}", _FORM, longest)
    yield once("idempotency_key_of_255", request, 400, "NO_FILE")


def read_vectors(target: Target) -> Iterator[Vector]:
    """Ids, numbers, formats, paths and methods."""
    key = f"X-API-Key: {target.key}"
    for name, text in IDS.items():
        yield once(f"job_id_{name}", head(f"GET /api/v1/jobs/{text}", key), 400, "BAD_ID")
    for start in ("GET /api/v1/jobs/{}", "DELETE /api/v1/jobs/{}", "GET /api/v1/jobs/{}/result", "GET /api/v1/jobs/{}/audio/url"):
        yield once(f"stranger_of_{start}", head(start.format(_STRANGE), key), 404, "NOT_FOUND")
    yield once("job_id_in_capitals", head(f"GET /api/v1/jobs/{target.waiting_job.upper()}", key), 200, told={"job_id": target.waiting_job})
    yield once("result_of_a_waiting_job", head(f"GET /api/v1/jobs/{target.waiting_job}/result", key), 409, "NOT_READY")
    for number, text in enumerate(_NUMBERS):
        yield once(f"limit_{number}", head(f"GET /api/v1/jobs?limit={text}", key), 400, "BAD_REQUEST")
    yield once("limit_twice", head("GET /api/v1/jobs?limit=1&limit=1", key), 400, "BAD_REQUEST")
    yield once("unknown_parameter", head("GET /api/v1/jobs?status=bogus&x=%00", key), 200)
    for number, text in enumerate(("exe", "", "JSON", "json%00", "json&format=txt", "a" * 5000)):
        yield once(f"format_{number}", head(f"GET /api/v1/jobs/{target.done_job}/result?format={text}", key), 400, "BAD_FORMAT")
    for path in (*NOWHERE, *MORE_NOWHERE):
        yield once(f"nothing_at_{path}", head(f"GET {path}", key), 404, "NOT_FOUND")
    for method, path in (("PUT", "/api/v1/me"), ("TRACE", "/api/v1/me"), ("PATCH", "/api/v1/jobs"), ("GET", "/api/v1/jobs/claim")):
        yield once(f"method_{method}_of_{path}", head(f"{method} {path}", key), 405, "METHOD_NOT_ALLOWED")
    yield once("options_of_everything", head("OPTIONS *"), 404, "NOT_FOUND")
    yield once("head_is_a_get_without_its_body", head("HEAD /api/v1/me", key), 200)
    for number, origin in enumerate(("null", "https://evil.example")):
        opened = {"access-control-allow-origin": "*", "access-control-allow-credentials": ""}
        yield once(f"origin_{number}", head("GET /api/v1/me", key, f"Origin: {origin}"), 200, headers=opened)
    yield from _dialects(target)


def _dialects(target: Target) -> Iterator[Vector]:
    """Everything that is refused before a contract sees it, in the words of each."""
    key, bearer = f"X-API-Key: {target.key}", f"Authorization: Bearer {target.key}"
    nothing, method = {"icana": "", "relay": "", "openai": "not_found"}, {"icana": "", "relay": "", "openai": "method_not_allowed"}
    invalid, unknown = {"icana": "", "relay": "", "openai": "invalid_request"}, {"icana": "", "relay": "", "openai": "invalid_api_key"}
    paths = {"icana": "/icana/api/v1/jobs", "relay": "/relay/api/v1/auth/api-keys", "openai": "/v1/models", "actionvibe": "/api/usage"}
    for name, path in paths.items():
        cut = f"GET {path} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".encode()
        yield once(f"{name}_malformed", cut, 400, invalid.get(name, "INVALID_REQUEST"))
        yield once(
            f"{name}_nothing_there", head(f"GET {path.rpartition('/')[0]}/nothing", key, bearer), 404, nothing.get(name, "NOT_FOUND")
        )
        yield once(f"{name}_wrong_method", head(f"PUT {path}", key, bearer), 405, method.get(name, "METHOD_NOT_ALLOWED"))
        yield once(f"{name}_unknown_key", head(f"GET {path}", "X-API-Key: nobody"), 401, unknown.get(name, "UNAUTHORIZED"))
    yield once("relay_bad_id", head("DELETE /relay/api/v1/auth/api-keys/1", key), 422)
    yield once("icana_bad_id", head("GET /icana/api/v1/jobs/1", key), 404)
    for number, text in enumerate(_NUMBERS):
        if text != "1000000000":
            yield once(f"icana_page_size_{number}", head(f"GET /icana/api/v1/jobs?page_size={text}", key), 400)
    yield once(
        "page_past_the_end", head("GET /icana/api/v1/jobs?page=999999999&page_size=100", key), 200, told={"items": [], "has_more": False}
    )


RANGES: Mapping[str, tuple[str, int]] = {
    "all": ("bytes=0-", 206),
    "last_byte": ("bytes=-1", 206),
    "first_byte": ("bytes=0-0", 206),
    "past_the_end": ("bytes=0-99999999999", 206),
    "reversed": ("bytes=5-2", 200),
    "several": ("bytes=0-0,1-1", 200),
    "ten_thousand": ("bytes=" + ",".join(["0-0"] * 2000), 200),
    "no_number": ("bytes=abc", 200),
    "other_unit": ("lines=0-1", 200),
    "other_digits": ("bytes=٠-١", 200),
    "of_5000_digits": ("bytes=" + "9" * 5000 + "-", 200),
    "nothing": ("bytes=-", 200),
    "outside": ("bytes=9999999999-", 416),
    "no_bytes": ("bytes=-0", 416),
}


def range_vectors(target: Target) -> Iterator[Vector]:
    """Ranges of a recording, through the gateway and at storage's own door."""
    for name, (asked, status) in RANGES.items():
        code = "RANGE_NOT_SATISFIABLE" if status == 416 else ""
        yield once(f"range_{name}", head(f"GET {target.playback}", f"Range: {asked}"), status, code)
        yield once(f"range_{name}", head(f"GET {target.blob}", f"Range: {asked}"), status, code, door="storage")
    other = head(f"GET {target.blob}", "Range: bytes=0-0", 'If-Range: "other"')
    yield once("range_of_another_version", other, 200, door="storage")
