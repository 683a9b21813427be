"""What the use cases work with."""

from collections.abc import Callable
from dataclasses import dataclass

from services.media.sandbox import Sandbox
from services.mesh.database import Database
from services.storage.blobs.blobs import Blobs
from services.storage.signing import UrlSigner


@dataclass(frozen=True, slots=True)
class Limits:
    """How much and how long. `upload_seconds` and `idle_seconds` bound one PUT and the silence within it."""

    max_media_bytes: int
    max_artefact_bytes: int
    max_duration_ms: int
    upload_url_seconds: float
    upload_seconds: float
    idle_seconds: float


@dataclass(frozen=True, slots=True)
class Depot:
    """Rows, bytes, URLs and the sandbox; the `wake_`s are called after a commit that gave those workers work."""

    database: Database
    blobs: Blobs
    signer: UrlSigner
    sandbox: Sandbox
    limits: Limits
    wake_relay: Callable[[], None]
    wake_reaper: Callable[[], None]
    wake_preparer: Callable[[], None]
