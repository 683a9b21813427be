"""The whole corpus."""

from collections.abc import Sequence

from faults.corpora.http.bodies import chunk_vectors, unwanted_vectors
from faults.corpora.http.documents import document_vectors
from faults.corpora.http.forms import form_vectors
from faults.corpora.http.heads import head_vectors, open_vectors
from faults.corpora.http.reads import key_vectors, range_vectors, read_vectors
from faults.corpora.http.storage import storage_vectors
from faults.corpora.http.vector import Target, Vector


def corpus(target: Target) -> Sequence[Vector]:
    """Every vector, in an order that never changes."""
    form = "Content-Type: multipart/form-data; boundary=b"
    return [
        *head_vectors(target),
        *open_vectors(target),
        *chunk_vectors("POST /api/v1/transcribe", f"X-API-Key: {target.key}", form),
        *unwanted_vectors(target),
        *key_vectors(target),
        *form_vectors(target),
        *document_vectors(target),
        *read_vectors(target),
        *range_vectors(target),
        *storage_vectors(target),
    ]
