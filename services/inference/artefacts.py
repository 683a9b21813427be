"""Media in, transcripts out: the storage service as the worker uses it."""

import httpx2

from steno.jobs.v1.transcript_pb2 import Transcript
from steno.storage.v1.storage_service_pb2 import BeginArtefactRequest, CommitArtefactRequest, SignMediaUrlRequest
from steno.storage.v1.storage_service_pb2_grpc import StorageServiceAsyncStub

TRANSCRIPT_TYPE = "application/x-protobuf; message=steno.jobs.v1.Transcript"


async def media_url(storage: StorageServiceAsyncStub, media_id: str) -> str:
    """A short-lived URL of the media's bytes. Raises RemoteError."""
    answer = await storage.SignMediaUrl(SignMediaUrlRequest(media_id=media_id))
    return answer.download_url.url


async def store_transcript(storage: StorageServiceAsyncStub, client: httpx2.AsyncClient, transcript: Transcript) -> str:
    """Store a transcript; returns its artefact's id. Raises RemoteError, httpx2.HTTPError."""
    body = transcript.SerializeToString()
    begun = await storage.BeginArtefact(BeginArtefactRequest(media_type=TRANSCRIPT_TYPE, max_size_bytes=max(1, len(body))))
    response = await client.put(begun.upload_url.url, content=body)
    response.raise_for_status()
    committed = await storage.CommitArtefact(CommitArtefactRequest(artefact_id=begun.artefact.id))
    return committed.artefact.id
