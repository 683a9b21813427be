"""Storage's own listener: signatures, methods, paths, uploads."""

from collections.abc import Iterator

from faults.corpora.http.bodies import chunk_vectors
from faults.corpora.http.heads import head_vectors
from faults.corpora.http.vector import Target, Vector, chunk, head, once, refused, whole

_TEN_GB = 10 * 1000**3
_LARGE = bytes(64 * 1024)


def storage_vectors(target: Target) -> Iterator[Vector]:
    """All that comes in by the data plane."""
    yield from head_vectors(target, "storage")
    yield from chunk_vectors(f"PUT {target.slot}", door="storage")
    yield from _signatures(target)
    yield from _bodies(target)
    paths = ("/", "/media/..%2f..%2fetc", "/media/%00", "/media/", "/media/a/b", "/artefacts", "//media/a", "/MEDIA/a", "/%zz")
    yield from refused({f"nothing_at_{path}": head(f"GET {path}") for path in paths}, 404, "NOT_FOUND", "storage")
    methods = {f"method_{method}": head(f"{method} {target.blob}") for method in ("POST", "DELETE", "PATCH", "TRACE", "OPTIONS")}
    yield from refused(methods, 405, "METHOD_NOT_ALLOWED", "storage")


def _signatures(target: Target) -> Iterator[Vector]:
    good = target.blob
    last = "A" if good[-1] != "A" else "B"
    forged = {
        "signature_changed": good[:-1] + last,
        "signature_cut": good[:-1],
        "signature_empty": good.split("signature=")[0] + "signature=",
        "signature_absent": good.split("&signature")[0],
        "signature_twice": good + "&signature=" + good.rpartition("=")[2],
        "signature_not_ascii": good[:-1] + "%C3%A9",
        "query_absent": good.split("?")[0],
        "query_longer": good + "&x=1",
        "expiry_later": good.replace("expires=", "expires=9"),
        "expiry_of_5000_digits": good.replace("expires=", "expires=" + "9" * 5000),
        "other_kind": good.replace("/media/", "/artefacts/"),
        "of_an_upload": target.slot,
    }
    yield from refused({name: head(f"GET {path}") for name, path in forged.items()}, 403, "INVALID_SIGNATURE", "storage")
    yield once("put_to_a_download", whole(f"PUT {good}", b"x"), 403, "INVALID_SIGNATURE", door="storage")


def _bodies(target: Target) -> Iterator[Vector]:
    put, forged = f"PUT {target.slot}", f"PUT {target.slot}0"
    chunked, long = "Transfer-Encoding: chunked", f"Content-Length: {_TEN_GB}"
    stranger, too_much = (403, "INVALID_SIGNATURE"), (413, "MEDIA_TOO_LARGE")
    yield Vector("body_of_a_forged_put", [(head(forged, long), 1), (_LARGE, 40)], *stranger, door="storage")
    yield Vector("chunks_of_a_forged_put", [(head(forged, chunked), 1), (chunk(_LARGE), 40)], *stranger, door="storage")
    yield Vector("put_of_too_much", [(head(put, long), 1)], *too_much, door="storage")
    yield Vector("put_of_too_much_in_chunks", [(head(put, chunked), 1), (chunk(bytes(2**20)), 80)], *too_much, door="storage")
    yield once("put_of_a_range", whole(put, b"x", "Content-Range: bytes 0-0/1"), 400, "INVALID_FIELD", door="storage")
    yield once("put_of_gzip", whole(put, b"x", "Content-Encoding: gzip"), 400, "INVALID_FIELD", door="storage")
    yield once("long_body_of_a_get", head(f"GET {target.blob}", long), 200, door="storage")
