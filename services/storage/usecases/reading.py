"""Looking at media and artefacts, and URLs to read them from."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from services.storage.domain import Kind, State, not_found, url_lifetime
from services.storage.signing import Grant
from services.storage.store import objects
from services.storage.store.tables import MODELS, Artefact, Media, StoredObject
from services.storage.usecases.depot import Depot

Row = TypeVar("Row", bound=StoredObject)
ARTEFACT_FILENAME = "artefact"


@dataclass(frozen=True, slots=True)
class Readable:
    """What the data plane serves."""

    object_key: str
    size_bytes: int
    sha256: str
    media_type: str
    filename: str


@dataclass(frozen=True, slots=True)
class Address:
    """A URL with its own permission, until when, and of which store."""

    url: str
    expire_time: datetime
    store: str


async def find_owned(depot: Depot, kind: Kind, model: type[Row], workspace_id: str, object_id: str) -> Row:
    """The workspace's row. Raises NotFound for an unknown, foreign or deleted id alike, and for the media of datasets."""
    row = await objects.find(depot.database, model, object_id, workspace_id)
    if row is None or (isinstance(row, Media) and row.dataset_id is not None):
        raise not_found(kind, object_id)
    return row


async def get_media(depot: Depot, workspace_id: str, media_id: str) -> Media:
    """One media of the workspace. Raises MediaNotFound."""
    return await find_owned(depot, Kind.MEDIA, Media, workspace_id, media_id)


async def sign_media_url(depot: Depot, workspace_id: str, media_id: str, lifetime: timedelta | None) -> Address:
    """Where to read ready media. Raises MediaNotFound, InvalidField."""
    media = await find_owned(depot, Kind.MEDIA, Media, workspace_id, media_id)
    return await address_of(depot, Kind.MEDIA, media, url_lifetime(lifetime))


async def sign_artefact_url(depot: Depot, workspace_id: str, artefact_id: str, lifetime: timedelta | None) -> Address:
    """Where to read a ready artefact. Raises ArtefactNotFound, InvalidField."""
    artefact = await find_owned(depot, Kind.ARTEFACT, Artefact, workspace_id, artefact_id)
    return await address_of(depot, Kind.ARTEFACT, artefact, url_lifetime(lifetime))


async def address_of(depot: Depot, kind: Kind, row: StoredObject, lifetime: timedelta) -> Address:
    """Where to read a row that the caller may read. Raises NotFound unless it is ready."""
    if row.state != State.READY or row.object_key is None:
        raise not_found(kind, row.id)
    expire_time = datetime.now(UTC) + lifetime
    if presigned := await depot.blobs.presign(row.object_key, lifetime):
        return Address(presigned, expire_time, depot.blobs.store)
    return Address(depot.signer.sign(Grant("GET", kind, row.id, expire_time)), expire_time, depot.blobs.store)


async def find_readable(depot: Depot, kind: Kind, object_id: str) -> Readable:
    """What a signed URL reads. Raises NotFound unless it is ready at this moment."""
    row = await objects.find(depot.database, MODELS[kind], object_id)
    if row is None or row.state != State.READY or row.object_key is None:
        raise not_found(kind, object_id)
    return Readable(row.object_key, row.size_bytes, row.sha256, row.media_type, filename_of(row))


def filename_of(row: StoredObject) -> str:
    """The name that a download gets."""
    return row.filename if isinstance(row, Media) else ARTEFACT_FILENAME
