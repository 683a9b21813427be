"""Every contract, made from the parts that they share."""

from collections.abc import Sequence
from dataclasses import dataclass

import httpx2

from services.gateway.contract import Contract
from services.gateway.contracts.icana.routes import Icana
from services.gateway.contracts.native.accounts import Accounts
from services.gateway.contracts.native.claims import Claims
from services.gateway.contracts.native.jobs import Jobs
from services.gateway.contracts.native.payments import Payments
from services.gateway.contracts.native.results import Results
from services.gateway.contracts.native.routes import Native
from services.gateway.contracts.native.submission import Submission
from services.gateway.contracts.relay.routes import Relay
from services.gateway.direct_uploads import DirectUploads
from services.gateway.events import JobEvents
from services.gateway.limits import Slots
from services.gateway.peers import Peers
from services.gateway.playback import Playback
from services.gateway.settings import GatewaySettings
from services.gateway.submissions import Submissions
from services.gateway.transcripts import Transcripts


@dataclass(frozen=True)
class Parts:
    """What contracts are made of."""

    settings: GatewaySettings
    peers: Peers
    http: httpx2.AsyncClient
    submissions: Submissions
    transcripts: Transcripts
    events: JobEvents
    event_slots: Slots
    playback: Playback


def make_contracts(parts: Parts) -> Sequence[Contract]:
    """Every contract; the first one also refuses what belongs to none."""
    return [_native(parts), _icana(parts), _relay(parts)]


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
        max_size_bytes=settings.max_upload_bytes,
        stall_seconds=settings.upload_stall_seconds,
        answer_seconds=settings.commit_timeout_seconds,
    )


def _icana(parts: Parts) -> Contract:
    return Icana(parts.peers, parts.submissions, parts.transcripts).contract()


def _relay(parts: Parts) -> Contract:
    return Relay(Accounts(parts.peers)).contract()
