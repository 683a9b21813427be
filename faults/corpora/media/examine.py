"""Reading one hostile file as storage and inference do: probed at submit, decoded by a worker."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from faults.corpora.media.bombs import LIMIT_MS
from faults.corpora.media.case import Outcome
from services.inference.room import decode_limit_ms
from services.media.decode import decode
from services.media.errors import MediaError, SandboxKilled, TaskFailed
from services.media.probe import probe
from services.media.sandbox import Sandbox

SAMPLE_BYTES = 2
# A worker may decode without a probe what comes within a call.
UNPROBED_MS = 600_000


@dataclass(frozen=True)
class Reading:
    """What one run made of a file; killed: what the child died of."""

    outcome: Outcome
    duration_ms: int = 0
    killed: str = ""
    fault: str = ""

    @property
    def heard(self) -> bool:
        """Whether there is audio."""
        return self.outcome in (Outcome.DONE, Outcome.TRUNCATED)


@dataclass(frozen=True)
class Examined:
    """The probe's reading and the decoder's."""

    probed: Reading
    decoded: Reading

    @property
    def outcome(self) -> Outcome:
        """What the user sees: refused at submit, failed as a job, or done."""
        if not self.probed.heard:
            return self.probed.outcome
        return self.decoded.outcome if self.decoded.heard else Outcome.FAILED

    @property
    def excess_ms(self) -> int:
        """By how much the probe's length, which is held, is above the decoded one, which is charged."""
        return self.probed.duration_ms - self.decoded.duration_ms if self.probed.heard and self.decoded.heard else 0

    @property
    def faults(self) -> list[str]:
        """Errors of the functions in the children that were no verdicts."""
        return [reading.fault for reading in (self.probed, self.decoded) if reading.fault]

    @property
    def deaths(self) -> list[str]:
        """What children died of."""
        return [reading.killed for reading in (self.probed, self.decoded) if reading.killed]


async def examine(sandbox: Sandbox, descriptor: int, folder: Path) -> Examined:
    """Probe and decode, each in a child. Raises what is neither a result nor a verdict on the media."""
    probed = await read_probe(sandbox, descriptor)
    limit_ms = decode_limit_ms(probed.duration_ms, LIMIT_MS) if probed.heard else UNPROBED_MS
    with tempfile.TemporaryFile(dir=folder) as pcm:
        decoded = await read_decode(sandbox, descriptor, pcm.fileno(), limit_ms)
        if decoded.heard and -(-os.fstat(pcm.fileno()).st_size // (16 * SAMPLE_BYTES)) != decoded.duration_ms:
            raise AssertionError("the samples written are not those told")
    return Examined(probed, decoded)


async def read_probe(sandbox: Sandbox, descriptor: int) -> Reading:
    """As storage, at submit."""
    try:
        found = await probe(sandbox, descriptor, LIMIT_MS)
    except MediaError as error:
        return refused(error)
    return Reading(Outcome.DONE, found.duration_ms)


async def read_decode(sandbox: Sandbox, descriptor: int, pcm: int, limit_ms: int) -> Reading:
    """As inference, for a job."""
    try:
        found = await decode(sandbox, descriptor, pcm, limit_ms)
    except MediaError as error:
        return refused(error)
    return Reading(Outcome.TRUNCATED if found.truncated else Outcome.DONE, found.duration_ms)


def refused(error: MediaError) -> Reading:
    """A verdict; a death is a verdict too, unless it is the fork server's."""
    if isinstance(error, SandboxKilled):
        if error.reason in ("server", "protocol"):
            raise error
        return Reading(Outcome.BROKEN, killed=error.reason)
    if isinstance(error, TaskFailed):
        return Reading(Outcome.BROKEN, fault=error.reason)
    return Reading(Outcome(error.code))
