"""Known speakers: recordings of their voices as data URLs, described by inference. Source of data URLs: RFC 2397."""

import asyncio
import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from services.gateway.contracts.openai.asks import REFERENCES
from services.gateway.domain import Reason, Refusal
from services.gateway.sentences import SENTENCES
from services.mesh.status import RemoteError
from steno.inference.v1.inference_service_pb2 import EmbedSpeakerRequest
from steno.inference.v1.inference_service_pb2_grpc import InferenceServiceAsyncStub
from steno.jobs.v1.job_pb2 import KnownSpeaker

MIN_REFERENCE_MS = 2_000
MAX_REFERENCE_MS = 10_000
MAX_REFERENCE_BYTES = 3 * 1024 * 1024
# Encoders pad the end of a recording to whole frames.
_PADDING_MS = 100
_EMBED_SECONDS = 60.0
_DATA_URL = re.compile(r"data:[^,;]*(?:;[^,;]*)*;base64,", re.IGNORECASE)
_BAD_RECORDINGS = frozenset(
    {"UNSUPPORTED_MEDIA", "BROKEN_MEDIA", "EMPTY_MEDIA", "MEDIA_TOO_LONG", "MEDIA_TOO_LARGE", "NO_SPEECH", "INVALID_FIELD"}
)


@dataclass(frozen=True)
class Voices:
    """Turns references into voices that jobs recognise."""

    inference: InferenceServiceAsyncStub

    async def known(self, names: Sequence[str], references: Sequence[str]) -> list[KnownSpeaker]:
        """A voice for each name. Raises Refusal for a reference that is none, and RemoteError."""
        recordings = await asyncio.to_thread(lambda: [_recording(reference) for reference in references])
        return [KnownSpeaker(name=name, embedding=await self._embed(media)) for name, media in zip(names, recordings, strict=True)]

    async def _embed(self, media: bytes) -> bytes:
        try:
            voice = await self.inference.EmbedSpeaker(EmbedSpeakerRequest(media=media), timeout=_EMBED_SECONDS)
        except RemoteError as error:
            if error.reason_name in _BAD_RECORDINGS:
                raise _refused(SENTENCES.get(error.reason_name, "It cannot be used.")) from error
            raise
        if not MIN_REFERENCE_MS - _PADDING_MS <= voice.duration_ms <= MAX_REFERENCE_MS + _PADDING_MS:
            raise _refused(f"It is {voice.duration_ms / 1000:g} seconds long instead of 2 to 10.")
        return voice.embedding


def _recording(reference: str) -> bytes:
    head = _DATA_URL.match(reference[:512])
    if head is None:
        raise _refused("It is no data URL in base64.")
    try:
        media = base64.b64decode(reference[head.end() :].strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refused("It is no data URL in base64.") from error
    if not media or len(media) > MAX_REFERENCE_BYTES:
        raise _refused(f"It has more than {MAX_REFERENCE_BYTES} bytes, or none.")
    return media


def _refused(sentence: str) -> Refusal:
    return Refusal(Reason.BAD_FIELD, f"A reference is not a recording of 2 to 10 seconds of speech. {sentence}", field=REFERENCES)
