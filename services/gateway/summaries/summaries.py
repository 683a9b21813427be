"""Summaries of finished transcripts, made once and kept for a while."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx2

from services.gateway.settings import GatewaySettings
from services.gateway.summaries.chat import ChatEndpoint, ChatSummarizer
from services.gateway.summaries.extractive import ExtractiveSummarizer
from services.gateway.summaries.summarizer import Summarizer
from services.mesh.turns import Turns
from steno.jobs.v1.transcript_pb2 import Transcript

TRY_AGAIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Kept:
    text: str
    until: float


class Summaries:
    """Remembers the summary of an artefact, which never changes; whoever asks meanwhile waits for the one in the making."""

    def __init__(self, summarizer: Summarizer, *, most_kept: int, try_again_seconds: float = TRY_AGAIN_SECONDS) -> None:
        self._summarizer = summarizer
        self._most_kept = most_kept
        self._try_again_seconds = try_again_seconds
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._making = Turns()

    async def read(self, artefact_id: str, document: bytes) -> str:
        """The summary of a serialized Transcript; empty without speech."""
        async with self._making.of(artefact_id):
            kept = self._kept.get(artefact_id)
            if kept is None or kept.until < time.monotonic():
                kept = await self._make(document)
                self._keep(artefact_id, kept)
            return kept.text

    async def _make(self, document: bytes) -> _Kept:
        transcript = await asyncio.to_thread(Transcript.FromString, document)
        summary = await self._summarizer.summarize(transcript)
        return _Kept(summary.text, float("inf") if summary.lasting else time.monotonic() + self._try_again_seconds)

    def _keep(self, artefact_id: str, kept: _Kept) -> None:
        self._kept[artefact_id] = kept
        self._kept.move_to_end(artefact_id)
        while len(self._kept) > self._most_kept:
            self._kept.popitem(last=False)


@asynccontextmanager
async def open_summaries(settings: GatewaySettings) -> AsyncIterator[Summaries]:
    """As configured: by a chat endpoint where one is named, else extractive."""
    extractive = ExtractiveSummarizer()
    if not settings.summary_chat_url:
        yield Summaries(extractive, most_kept=settings.summary_cache_entries)
        return
    async with httpx2.AsyncClient(timeout=settings.summary_chat_timeout_seconds, trust_env=False, follow_redirects=False) as http:
        chat = ChatSummarizer(http, _endpoint(settings), extractive)
        yield Summaries(chat, most_kept=settings.summary_cache_entries)


def _endpoint(settings: GatewaySettings) -> ChatEndpoint:
    file = settings.summary_chat_key_file
    key = file.read_text().strip() if file else ""
    return ChatEndpoint(settings.summary_chat_url, settings.summary_chat_model, key, settings.summary_chat_timeout_seconds)
