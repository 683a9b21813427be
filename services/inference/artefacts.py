"""Media in, artefacts out: the storage service as the worker uses it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import grpc
import httpx2

from services.inference.domain import MediaUnprocessable
from services.mesh import fault
from services.mesh.errors import MeshError
from services.mesh.status import RemoteError
from services.mesh.telemetry import get_logger
from steno.jobs.v1.transcript_pb2 import Transcript
from steno.storage.v1.storage_service_pb2 import (
    BeginArtefactRequest,
    CommitArtefactRequest,
    DeleteArtefactRequest,
    SignArtefactUrlRequest,
    SignMediaUrlRequest,
)
from steno.storage.v1.storage_service_pb2_grpc import StorageServiceAsyncStub

TRANSCRIPT_TYPE = "application/x-protobuf; message=steno.jobs.v1.Transcript"
Announce: TypeAlias = Callable[[str], Awaitable[None]]
_PUT_SECONDS = 60.0
_DISCARD_SECONDS = 1.0


async def media_url(storage: StorageServiceAsyncStub, media_id: str) -> str:
    """A short-lived URL of the media's bytes. Raises MediaUnprocessable when they are gone, RemoteError."""
    try:
        answer = await storage.SignMediaUrl(SignMediaUrlRequest(media_id=media_id))
    except RemoteError as error:
        if error.code is grpc.StatusCode.NOT_FOUND:
            raise MediaUnprocessable("The audio is no longer stored.") from error
        raise
    return answer.download_url.url


async def artefact_url(storage: StorageServiceAsyncStub, artefact_id: str) -> str:
    """A short-lived URL of the artefact's bytes. Raises RemoteError."""
    return (await storage.SignArtefactUrl(SignArtefactUrlRequest(artefact_id=artefact_id))).download_url.url


async def store_transcript(storage: StorageServiceAsyncStub, client: httpx2.AsyncClient, transcript: Transcript, announce: Announce) -> str:
    """Store a transcript; returns its artefact's id. Raises what `store_artefact` raises."""
    return await store_artefact(storage, client, TRANSCRIPT_TYPE, transcript.SerializeToString(), announce)


async def store_artefact(
    storage: StorageServiceAsyncStub, client: httpx2.AsyncClient, media_type: str, body: bytes, announce: Announce
) -> str:
    """Store bytes; returns their artefact's id. Raises RemoteError, httpx2.HTTPError, TimeoutError, and what `announce` raises.

    announce: told the id before there are bytes that somebody would have to remove.
    """
    begun = await storage.BeginArtefact(BeginArtefactRequest(media_type=media_type, max_size_bytes=max(1, len(body))))
    fault.point("inference.artefact.after_begin")
    try:
        await announce(begun.artefact.id)
        fault.point("inference.artefact.after_announce")
        async with asyncio.timeout(_PUT_SECONDS):
            response = await client.put(begun.upload_url.url, content=body)
        response.raise_for_status()
        fault.point("inference.artefact.after_put")
        committed = await storage.CommitArtefact(CommitArtefactRequest(artefact_id=begun.artefact.id))
    except BaseException:
        await discard_artefact(storage, begun.artefact.id)
        raise
    return committed.artefact.id


async def discard_artefact(storage: StorageServiceAsyncStub, artefact_id: str) -> None:
    """Delete an artefact that nobody needs; best effort, for one second."""
    try:
        await storage.DeleteArtefact(DeleteArtefactRequest(artefact_id=artefact_id), timeout=_DISCARD_SECONDS)
    except MeshError as error:
        get_logger("inference.artefacts").warning("artefact left behind", artefact_id=artefact_id, error=str(error))
