"""Every contract, made from the parts that they share."""

from collections.abc import Sequence
from dataclasses import dataclass

import httpx2

from services.gateway.contract import Contract
from services.gateway.contracts.actionvibe.routes import ActionVibe
from services.gateway.contracts.actionvibe.tokens import Tokens
from services.gateway.contracts.actionvibe.transcriptions import Transcriptions
from services.gateway.contracts.actionvibe.usage import UsageReport
from services.gateway.contracts.icana.routes import Icana
from services.gateway.contracts.native.accounts import Accounts
from services.gateway.contracts.native.claims import Claims
from services.gateway.contracts.native.jobs import Jobs
from services.gateway.contracts.native.payments import Payments
from services.gateway.contracts.native.results import Results
from services.gateway.contracts.native.routes import Native
from services.gateway.contracts.native.submission import Submission
from services.gateway.contracts.openai.audio import Audio
from services.gateway.contracts.openai.errors import openai_errors
from services.gateway.contracts.openai.models import ModelNames
from services.gateway.contracts.openai.routes import OpenAI
from services.gateway.contracts.openai.streams import TextStreams
from services.gateway.contracts.openai.voices import Voices
from services.gateway.contracts.openai.waits import Waits
from services.gateway.contracts.relay.annotation_sets import AnnotationSets
from services.gateway.contracts.relay.datasets import Datasets
from services.gateway.contracts.relay.inference import Inference
from services.gateway.contracts.relay.models import Models
from services.gateway.contracts.relay.routes import Relay
from services.gateway.contracts.relay.schemas import MAX_FILE_BYTES
from services.gateway.contracts.relay.training import Training
from services.gateway.direct_uploads import DirectUploads
from services.gateway.events import JobEvents
from services.gateway.form_uploads import FormUploads
from services.gateway.limits import Slots
from services.gateway.peers import Peers
from services.gateway.playback import Playback
from services.gateway.settings import GatewaySettings
from services.gateway.submissions import Submissions
from services.gateway.summaries.summaries import Summaries
from services.gateway.transcripts import Transcripts

_CONFIRM_MARGIN_SECONDS = 5.0
_FORM_FIELDS_BYTES = 128 * 1024


@dataclass(frozen=True)
class Parts:
    """What contracts are made of."""

    settings: GatewaySettings
    peers: Peers
    http: httpx2.AsyncClient
    submissions: Submissions
    transcripts: Transcripts
    summaries: Summaries
    events: JobEvents
    event_slots: Slots
    playback: Playback


def make_contracts(parts: Parts) -> Sequence[Contract]:
    """Every contract; the first one also refuses what belongs to none."""
    relay = _relay(parts)
    return [_native(parts), relay.beside_native(), _icana(parts), relay.contract(), _actionvibe(parts), _openai(parts)]


def _native(parts: Parts) -> Contract:
    native = Native(
        submission=Submission(parts.submissions, _direct_uploads(parts)),
        jobs=Jobs(parts.peers, parts.events, parts.event_slots),
        claims=Claims(parts.peers),
        results=Results(parts.peers, parts.transcripts),
        playback=parts.playback,
        accounts=Accounts(parts.peers),
        payments=Payments(parts.peers),
    )
    return native.contract(parts.settings.upgrade_url)


def _direct_uploads(parts: Parts) -> DirectUploads:
    settings = parts.settings
    return DirectUploads(
        data_url=settings.storage_data_url,
        slots=parts.submissions.slots,
        proxies=parts.submissions.proxies,
        max_size_bytes=settings.max_upload_bytes,
        stall_seconds=settings.upload_stall_seconds,
        answer_seconds=settings.commit_timeout_seconds,
        trust=parts.peers.trust,
    )


def _icana(parts: Parts) -> Contract:
    return Icana(parts.peers, parts.submissions, parts.transcripts).contract()


def _relay(parts: Parts) -> Relay:
    peers, uploads = parts.peers, FormUploads(_direct_uploads(parts), MAX_FILE_BYTES + _FORM_FIELDS_BYTES)
    confirm_seconds = parts.settings.commit_timeout_seconds + _CONFIRM_MARGIN_SECONDS
    return Relay(
        accounts=Accounts(peers),
        playback=parts.playback,
        uploads=uploads,
        datasets=Datasets(peers, uploads, confirm_seconds),
        annotation_sets=AnnotationSets(peers),
        training=Training(peers),
        models=Models(peers),
        inference=Inference(peers, uploads, confirm_seconds),
    )


def _actionvibe(parts: Parts) -> Contract:
    transcriptions = Transcriptions(parts.peers, parts.submissions, parts.transcripts, parts.summaries)
    return ActionVibe(transcriptions, Tokens(parts.peers), UsageReport(parts.peers)).contract()


def _openai(parts: Parts) -> Contract:
    settings, errors = parts.settings, openai_errors()
    models = ModelNames(parts.peers.inference, settings.openai_models, settings.openai_default_model)
    audio = Audio(
        submissions=parts.submissions,
        models=models,
        voices=Voices(parts.peers.inference),
        waits=Waits(parts.events, parts.event_slots, settings.openai_wait_seconds),
        streams=TextStreams(parts.events, parts.event_slots, parts.transcripts, errors, settings.openai_wait_seconds),
        transcripts=parts.transcripts,
        retry_window_seconds=settings.openai_retry_window_seconds,
    )
    return OpenAI(audio, models, errors).contract()
