"""Finished transcripts, read from storage and kept for a while."""

from collections import OrderedDict

import httpx2

from services.gateway.domain import Reason, Refusal
from services.mesh.identity import acting_for
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.transcript_pb2 import Transcript
from steno.storage.v1.storage_service_pb2 import SignArtefactUrlRequest
from steno.storage.v1.storage_service_pb2_grpc import StorageServiceAsyncStub

# Within which the next bytes have to come: a client waits fifteen seconds at most for a storage that hangs.
_SILENCE_SECONDS = 8.0


class Transcripts:
    """Reads the stored transcript of a job. An artefact never changes, so what was read stays right."""

    def __init__(self, storage: StorageServiceAsyncStub, http: httpx2.AsyncClient, *, cache_bytes: int, max_bytes: int) -> None:
        self._storage = storage
        self._http = http
        self._cache_bytes = cache_bytes
        self._max_bytes = max_bytes
        self._cached: OrderedDict[str, bytes] = OrderedDict()
        self._cached_bytes = 0

    async def read(self, job: Job) -> bytes:
        """The serialized Transcript of a job that is done. Raises Refusal and RemoteError."""
        artefact_id = job.transcript_artefact_id
        if artefact_id in self._cached:
            self._cached.move_to_end(artefact_id)
            return self._cached[artefact_id]
        with acting_for(job.workspace_id, job.owner):
            answer = await self._storage.SignArtefactUrl(SignArtefactUrlRequest(artefact_id=artefact_id))
        document = await self._fetch(answer.download_url.url)
        self._remember(artefact_id, document)
        return document

    async def _fetch(self, url: str) -> bytes:
        document = bytearray()
        try:
            async with self._http.stream("GET", url, headers={"accept-encoding": "identity"}, timeout=_SILENCE_SECONDS) as answer:
                if answer.status_code != httpx2.codes.OK:
                    raise Refusal(Reason.BACKEND_ERROR)
                async for chunk in answer.aiter_raw():
                    document += chunk
                    if len(document) > self._max_bytes:
                        raise Refusal(Reason.BACKEND_ERROR)
        except httpx2.ConnectError as error:
            raise Refusal(Reason.BACKEND_UNREACHABLE) from error
        except httpx2.HTTPError as error:
            raise Refusal(Reason.BACKEND_ERROR) from error
        return bytes(document)

    def _remember(self, artefact_id: str, document: bytes) -> None:
        if len(document) > self._cache_bytes:
            return
        self._cached_bytes += len(document) - len(self._cached.pop(artefact_id, b""))
        self._cached[artefact_id] = document
        while self._cached_bytes > self._cache_bytes:
            _, dropped = self._cached.popitem(last=False)
            self._cached_bytes -= len(dropped)


def parse(document: bytes) -> Transcript:
    """The message in stored bytes."""
    return Transcript.FromString(document)
