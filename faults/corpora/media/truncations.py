"""Files that end too early, at every percent of their length."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import av

from faults.corpora.media.case import HEARD, REFUSED, TRUNCATED, Case, Outcome, Sources

USABLE_MS = 1_000
# How far the end of the last whole packet may lie from what decodes: an Ogg page holds a second, others a frame or two.
TOLERANCE_MS = {"ogg": 1_100, "ogg_flac": 1_100}
USUAL_TOLERANCE_MS = 250
# Nothing can be read of these without their end.
INDEX_LAST = ("m4a", "mov", "mp4_video")
# These tell neither their length nor their end.
ENDLESS = ("aac",)
CUT = (
    "mp3",
    "m4a",
    "m4a_index_first",
    "m4a_fragments",
    "ogg",
    "ogg_flac",
    "flac",
    "webm",
    "wav",
    "mkv",
    "mkv_pcm",
    "aac",
    "aiff",
    "w64",
    "mov",
)


@dataclass(frozen=True)
class Extent:
    """Where a packet ends in the file, and how much audio has come by then."""

    end: int
    total_ms: float


def cases(sources: Sources, every_percent: int) -> Iterator[Case]:
    """Each form, cut at each step of its length."""
    for form in CUT:
        data = sources.forms[form]
        extents = measure(data)
        for percent in range(every_percent, 100, every_percent):
            yield cut(form, data, extents, percent, sources.duration_ms)


def cut(form: str, data: bytes, extents: list[Extent], percent: int, duration_ms: int) -> Case:
    """The first percents of the file; what must decode follows from where the packets of the whole file lie."""
    size = len(data) * percent // 100
    kept_ms = 0 if form in INDEX_LAST else round(max((extent.total_ms for extent in extents if extent.end <= size), default=0))
    tolerance_ms = TOLERANCE_MS.get(form, USUAL_TOLERANCE_MS)
    expected = expect(form, kept_ms, duration_ms - kept_ms, tolerance_ms)
    return Case(f"{form}-cut-at-{percent:02}", data[:size], expected, kept_ms, tolerance_ms)


def expect(form: str, kept_ms: int, lost_ms: int, tolerance_ms: int) -> tuple[Outcome, ...]:
    """A second that decodes is a result, and a second that is missing must be told; packets blur both by the tolerance."""
    if kept_ms < USABLE_MS - tolerance_ms:
        return (*HEARD, *REFUSED) if form in ENDLESS else REFUSED
    heard = HEARD if form in ENDLESS or lost_ms <= USABLE_MS + tolerance_ms else TRUNCATED
    return heard if kept_ms >= USABLE_MS + tolerance_ms else (*heard, *REFUSED)


def measure(data: bytes) -> list[Extent]:
    """The packets of the first audio stream of a whole file."""
    extents, total_ms = [], 0.0
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.audio[0]
        for packet in container.demux(stream):
            if packet.size and packet.pos is not None and packet.time_base is not None:
                total_ms += float((packet.duration or 0) * packet.time_base) * 1000
                extents.append(Extent(packet.pos + packet.size, total_ms))
    return extents
