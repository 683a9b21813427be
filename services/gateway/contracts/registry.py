"""Every contract, made from the parts that they share."""

from collections.abc import Sequence
from dataclasses import dataclass

import httpx2

from services.gateway.contract import Contract
from services.gateway.contracts.native.accounts import Accounts
from services.gateway.contracts.native.results import Results
from services.gateway.contracts.native.routes import Native
from services.gateway.contracts.native.submission import Submission
from services.gateway.events import JobEvents
from services.gateway.limits import RateLimiter, Slots
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
    limiter: RateLimiter
    transcripts: Transcripts
    events: JobEvents
    event_slots: Slots
    playback: Playback


def make_contracts(parts: Parts) -> Sequence[Contract]:
    """Every contract; the first one also refuses what belongs to none."""
    return [_native(parts)]


def _native(parts: Parts) -> Contract:
    native = Native(
        peers=parts.peers,
        submission=Submission(parts.submissions, parts.limiter),
        results=Results(parts.peers, parts.transcripts),
        accounts=Accounts(parts.peers),
        events=parts.events,
        event_slots=parts.event_slots,
        playback=parts.playback,
    )
    return native.contract(parts.settings.upgrade_url)
