"""Chunked bodies that break their own rules, bodies that nobody asked for."""

from collections.abc import Iterator

from faults.corpora.http.vector import Door, Target, Vector, chunk, head, once, refused

_TEN_GB = 10 * 1000**3
_LARGE = bytes(64 * 1024)

MALFORMED_CHUNKS = {
    "chunk_size_is_no_number": b"ZZ\r\nabc\r\n",
    "chunk_size_overflows": b"FFFFFFFFFFFFFFFFF\r\nabc\r\n",
    "chunk_size_with_sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "chunk_size_with_prefix": b"0x3\r\nabc\r\n0\r\n\r\n",
    "space_before_chunk_size": b" 3\r\nabc\r\n0\r\n\r\n",
    "empty_chunk_size": b"\r\nabc\r\n0\r\n\r\n",
    "chunk_without_end": b"3\r\nabcX",
    "chunk_size_ends_in_a_line_feed": b"3\nabc\n0\n\n",
    "extension_ends_in_a_line_feed": b"3;a\nabc\r\n0\r\n\r\n",
    "chunk_longer_than_its_size": b"3\r\nabcde\r\n0\r\n\r\n",
    "negative_chunk": b"-1\r\n",
    "endless_extension": b"1;" + b"a" * 200_000,
    "endless_trailer": b"1\r\na\r\n0\r\nX: " + b"a" * 200_000,
    "many_trailers": b"0\r\n" + b"X: a\r\n" * 5000,
    "folded_trailer": b"1\r\na\r\n0\r\nX: a\r\n b\r\n\r\n",
}


def chunk_vectors(start: str, *headers: str, door: Door = "gateway") -> Iterator[Vector]:
    """Every malformed chunk as the body of a request."""
    before = head(start, *headers, "Transfer-Encoding: chunked")
    yield from refused({name: before + body for name, body in MALFORMED_CHUNKS.items()}, 400, "BAD_REQUEST", door)


def unwanted_vectors(target: Target) -> Iterator[Vector]:
    """Bodies that are refused, or not wanted, before they are read."""
    form, post = "Content-Type: multipart/form-data; boundary=b", "POST /api/v1/transcribe"
    known, unknown = f"X-API-Key: {target.key}", "X-API-Key: sk_live_nobody"
    yield Vector(
        "huge_body_without_a_key", [(head(post, form, f"Content-Length: {60 * 1000**2}"), 1), (_LARGE, 40)], 401, "MISSING_API_KEY"
    )
    expecting = ("Content-Length: 30", "Expect: 100-continue")
    yield once("expect_continue_without_a_key", head(post, form, *expecting), 401, "MISSING_API_KEY")
    yield once("expect_continue_with_a_bad_key", head(post, form, unknown, *expecting), 401, "INVALID_API_KEY")
    yield once("ten_gigabytes_announced", head(post, form, known, f"Content-Length: {_TEN_GB}"), 413, "FILE_TOO_LARGE")
    yield once("too_much_announced", head(post, form, known, f"Content-Length: {target.max_upload_bytes + 2**22}"), 413, "FILE_TOO_LARGE")
    yield once("long_body_to_nowhere", head("POST /nothing", f"Content-Length: {_TEN_GB}"), 404, "NOT_FOUND")
    yield once("long_body_to_a_get", head("GET /api/v1/me", known, f"Content-Length: {_TEN_GB}"), 200)
    yield once("long_body_to_the_wrong_method", head("PUT /api/v1/transcribe", f"Content-Length: {_TEN_GB}"), 405, "METHOD_NOT_ALLOWED")
    yield Vector(
        "upload_in_chunks_past_the_limit",
        [(head(f"PUT {target.upload}", "Transfer-Encoding: chunked"), 1), (chunk(bytes(2**20)), 80)],
        413,
        "FILE_TOO_LARGE",
    )
    yield Vector(
        "form_in_chunks_past_the_limit",
        [
            (head(post, form, known, "Transfer-Encoding: chunked"), 1),
            (chunk(b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'), 1),
            (chunk(bytes(2**20)), 80),
        ],
        413,
        "FILE_TOO_LARGE",
    )
