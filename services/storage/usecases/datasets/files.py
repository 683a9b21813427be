"""The audio files of a dataset: announced, confirmed, imported, read and deleted."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from services.media.probe import Probe
from services.mesh import fault
from services.mesh.errors import InvalidArgument
from services.mesh.ids import new_id
from services.storage.blobs.blobs import BlobMissing, Form
from services.storage.datasets import AudioState, Owner, Place, SetState, check_announcement
from services.storage.domain import (
    AudioInUse,
    Kind,
    MediaNotFound,
    MediaTooLarge,
    State,
    UploadIncomplete,
    clean_filename,
    new_object_key,
    url_lifetime,
)
from services.storage.store import audio as store
from services.storage.store import objects
from services.storage.store.dataset_tables import Dataset, DatasetAudio
from services.storage.store.tables import Artefact, Media
from services.storage.usecases.datasets.finding import hold_dataset, require_audio, require_dataset
from services.storage.usecases.depot import Depot
from services.storage.usecases.posting import make_form, take_posted
from services.storage.usecases.probing import probe_media
from services.storage.usecases.reading import Address, address_of, get_media

_MAX_MESSAGE_CHARACTERS = 500


async def begin_audio(
    depot: Depot, owner: Owner, dataset_id: str, filename: str, content_type: str, size_bytes: int
) -> tuple[DatasetAudio, Form]:
    """Announce a file; exactly so many bytes must come by the form.

    Raises DatasetNotFound, InvalidField, UnsupportedMedia, MediaTooLarge.
    """
    check_announcement(filename, content_type, size_bytes)
    if size_bytes > depot.limits.max_media_bytes:
        raise MediaTooLarge(max_size_bytes=str(depot.limits.max_media_bytes))
    async with depot.database.transaction() as session:
        dataset = await hold_dataset(session, owner, dataset_id)
        audio, media = await _announce(session, dataset, clean_filename(filename), size_bytes)
        fault.point("storage.audio.before_commit")
    fault.point("storage.audio.after_commit")
    return audio, await make_form(depot, media, content_type, size_bytes, size_bytes)


async def _announce(
    session: AsyncSession, dataset: Dataset, filename: str, size_bytes: int, source: Media | None = None
) -> tuple[DatasetAudio, Media]:
    """Rows of a file whose bytes have yet to come; those of a copy name its bytes at once, so that no sweep takes them for lost."""
    now = await objects.clock(session)
    copied: dict[str, Any] = {}
    if source is not None:
        copied = {"object_key": new_object_key(), "size_bytes": source.size_bytes, "sha256": source.sha256}
    media = Media(
        id=new_id(),
        workspace_id=dataset.workspace_id,
        state=State.UPLOADING,
        filename=filename,
        dataset_id=dataset.id,
        create_time=now,
        change_time=now,
        **copied,
    )
    audio = DatasetAudio(
        id=new_id(),
        workspace_id=dataset.workspace_id,
        dataset_id=dataset.id,
        media_id=media.id,
        source_media_id=source.id if source else None,
        original_filename=filename,
        size_bytes=size_bytes,
        state=AudioState.PENDING,
        next_time=now,
        create_time=now,
    )
    session.add_all([media, audio])
    await session.flush()
    return audio, media


async def confirm_audio(depot: Depot, owner: Owner, dataset_id: str, audio_id: str) -> DatasetAudio:
    """Take uploaded bytes in; what is no audio leaves the file failed. Raises DatasetNotFound, AudioNotFound, UploadIncomplete."""
    dataset, audio = await _find(depot, owner, dataset_id, audio_id)
    if audio.state != AudioState.PENDING:
        return audio
    try:
        media = await _arrived(depot, audio)
        found = await probe_media(depot, media, depot.limits.max_duration_ms)
    except InvalidArgument as error:
        await _refuse(depot, dataset, audio, error.message)
    else:
        fault.point("storage.confirm.after_probe")
        await _accept(depot, dataset, audio, media, _facts(found))
    return (await _find(depot, owner, dataset_id, audio_id))[1]


async def _arrived(depot: Depot, audio: DatasetAudio) -> Media:
    """The media with its receipt. Raises UploadIncomplete unless exactly the announced bytes arrived."""
    media = await objects.find(depot.database, Media, audio.media_id, audio.workspace_id)
    if media is None:
        raise UploadIncomplete(audio_id=audio.id)
    if media.object_key is None and media.upload_key is not None:
        await _check_size(depot, audio, media.upload_key)
    media = await take_posted(depot, media)
    if media.object_key is None or media.size_bytes != audio.size_bytes:
        raise UploadIncomplete(audio_id=audio.id)
    return media


async def _check_size(depot: Depot, audio: DatasetAudio, upload_key: str) -> None:
    """Of what lies in the bucket, before it is taken in: another form post may still correct it."""
    try:
        size_bytes = await depot.blobs.size(upload_key)
    except BlobMissing as error:
        raise UploadIncomplete(audio_id=audio.id) from error
    if size_bytes != audio.size_bytes:
        raise UploadIncomplete(
            "The bytes that arrived are not as many as announced.", size_bytes=str(size_bytes), announced_bytes=str(audio.size_bytes)
        )


async def _accept(depot: Depot, dataset: Dataset, audio: DatasetAudio, media: Media, facts: dict[str, Any]) -> None:
    """Make the bytes readable and have them prepared, unless that was done meanwhile."""
    async with depot.database.transaction() as session:
        row = await store.lock_audio(session, dataset, audio.id)
        if row is None or row.state != AudioState.PENDING:
            return
        if await objects.set_ready(session, Media, media.id, media.object_key or "", facts) is None:
            raise UploadIncomplete(audio_id=audio.id)
        row.state, row.duration_ms = AudioState.NORMALIZING, facts["duration_ms"]
        row.next_time = await objects.clock(session)
        await session.flush()
        fault.point("storage.confirm.before_commit")
    fault.point("storage.confirm.after_commit")
    depot.wake_preparer()


async def _refuse(depot: Depot, dataset: Dataset, audio: DatasetAudio, message: str) -> None:
    """Say why the bytes are no audio, and let go of them."""
    async with depot.database.transaction() as session:
        row = await store.lock_audio(session, dataset, audio.id)
        if row is None or row.state != AudioState.PENDING:
            return
        row.state, row.error_message = AudioState.FAILED, message[:_MAX_MESSAGE_CHARACTERS]
        if (media := await objects.lock(session, Media, audio.media_id, audio.workspace_id)) is not None:
            await objects.set_deleted(session, media)
        await session.flush()
        fault.point("storage.refuse_audio.before_commit")
    depot.wake_reaper()


async def import_audio(depot: Depot, owner: Owner, dataset_id: str, media_id: str) -> DatasetAudio:
    """Copy ready media into a dataset; a copy that is there is answered as it is. Raises DatasetNotFound, MediaNotFound."""
    async with depot.database.reading() as session:
        dataset = await require_dataset(session, owner, dataset_id)
        known = await store.find_imported(session, dataset, media_id)
    if known is not None and known.state != AudioState.PENDING:
        return known
    source = await get_media(depot, owner.workspace_id, media_id)
    if source.state != State.READY or source.object_key is None:
        raise MediaNotFound(media_id=media_id)
    async with depot.database.transaction() as session:
        dataset = await hold_dataset(session, owner, dataset_id)
        audio = await store.find_imported(session, dataset, media_id)
        if audio is None:
            audio, _ = await _announce(session, dataset, source.filename, source.size_bytes, source)
        fault.point("storage.import.before_commit")
    fault.point("storage.import.after_commit")
    await _copy(depot, dataset, audio, source)
    return (await _find(depot, owner, dataset_id, audio.id))[1]


async def _copy(depot: Depot, dataset: Dataset, audio: DatasetAudio, source: Media) -> None:
    media = await objects.find(depot.database, Media, audio.media_id, audio.workspace_id)
    if media is None or media.state != State.UPLOADING or media.object_key is None or source.object_key is None:
        return
    try:
        await depot.blobs.copy(source.object_key, media.object_key)
    except BlobMissing as error:
        raise MediaNotFound(media_id=source.id) from error
    fault.point("storage.import.after_copy")
    await _accept(depot, dataset, audio, media, _facts(source))


def _facts(found: Probe | Media) -> dict[str, Any]:
    names = ("container", "codec", "media_type", "duration_ms", "sample_rate_hz", "channels", "has_video")
    return {name: getattr(found, name) for name in names}


async def get_audio(depot: Depot, owner: Owner, dataset_id: str, audio_id: str) -> DatasetAudio:
    """One file. Raises DatasetNotFound, AudioNotFound."""
    return (await _find(depot, owner, dataset_id, audio_id))[1]


async def list_audio(depot: Depot, owner: Owner, dataset_id: str, place: Place) -> tuple[Sequence[DatasetAudio], int]:
    """A page of a dataset's files, newest first, and how many there are. Raises DatasetNotFound."""
    async with depot.database.reading() as session:
        return await store.list_audio(session, await require_dataset(session, owner, dataset_id), place)


async def delete_audio(depot: Depot, owner: Owner, dataset_id: str, audio_id: str) -> None:
    """Delete a file with its annotations in drafts; its bytes go soon. Raises DatasetNotFound, AudioNotFound, AudioInUse."""
    async with depot.database.transaction() as session:
        dataset = await hold_dataset(session, owner, dataset_id)
        audio = await require_audio(session, dataset, audio_id)
        if await store.is_annotated(session, dataset, audio_id, SetState.PUBLISHED):
            raise AudioInUse(audio_id=audio_id)
        await store.delete_audio(session, audio)
        if (media := await objects.lock(session, Media, audio.media_id, audio.workspace_id)) is not None:
            await objects.set_deleted(session, media)
        if audio.features_id and (features := await objects.lock(session, Artefact, audio.features_id, audio.workspace_id)) is not None:
            await objects.set_deleted(session, features)
        fault.point("storage.delete_audio.before_commit")
    fault.point("storage.delete_audio.after_commit")
    depot.wake_reaper()


async def sign_audio_url(depot: Depot, owner: Owner, dataset_id: str, audio_id: str, lifetime: timedelta | None) -> Address:
    """Where to read a file. Raises DatasetNotFound, AudioNotFound, UploadIncomplete before its bytes are taken in, InvalidField."""
    seconds = url_lifetime(lifetime)
    _, audio = await _find(depot, owner, dataset_id, audio_id)
    media = await objects.find(depot.database, Media, audio.media_id, audio.workspace_id)
    if media is None or media.state != State.READY:
        raise UploadIncomplete(audio_id=audio_id)
    return await address_of(depot, Kind.MEDIA, media, seconds)


async def _find(depot: Depot, owner: Owner, dataset_id: str, audio_id: str) -> tuple[Dataset, DatasetAudio]:
    async with depot.database.reading() as session:
        dataset = await require_dataset(session, owner, dataset_id)
        return dataset, await require_audio(session, dataset, audio_id)
