"""Which stretches of a file the speaker encoder hears."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.inference.pcm import gain_towards
from services.inference.windows import Region

SPAN_MS = 2_000
HOP_MS = 500
SHORTEST_SPAN_MS = 500
LONGEST_BLOCK_MS = 60_000
HALF_FRAME_MS = 13
ENCODER_LEVEL_DBFS = -30.0


@dataclass(frozen=True, slots=True)
class EmbeddingBlock:
    """A stretch of the file to cut once, with its spans in ms from its start.

    It goes on for half a spectrum frame past its last span, or that frame would hear zeros where the file has sound.
    """

    start_ms: int
    end_ms: int
    spans: tuple[tuple[int, int], ...]


def embedding_spans(regions: Sequence[Region], duration_ms: int) -> list[Region]:
    """Stretches of 2.0 s every 0.5 s inside each region, in order of their start.

    A region shorter than that is one span, widened to 0.5 s where the file has room. The last span of a
    region ends with it.
    """
    return [span for region in regions for span in _spans_of(region, duration_ms)]


def _spans_of(region: Region, duration_ms: int) -> Iterator[Region]:
    if span_count(region) == 1:
        yield _widened(region, duration_ms)
        return
    for hop in range(span_count(region) - 1):
        start_ms = region.start_ms + hop * HOP_MS
        yield Region(start_ms, start_ms + SPAN_MS)
    yield Region(region.end_ms - SPAN_MS, region.end_ms)


def span_count(region: Region) -> int:
    """Number of spans in a region."""
    if region.duration_ms <= SPAN_MS + SPAN_MS // 20:
        return 1
    return 1 + math.ceil((region.duration_ms - SPAN_MS) / HOP_MS)


def _widened(region: Region, duration_ms: int) -> Region:
    missing_ms = max(0, SHORTEST_SPAN_MS - region.duration_ms)
    start_ms = max(0, min(region.start_ms - missing_ms // 2, duration_ms - SHORTEST_SPAN_MS))
    return Region(start_ms, min(duration_ms, start_ms + region.duration_ms + missing_ms))


def embedding_blocks(spans: Sequence[Region]) -> list[EmbeddingBlock]:
    """Spans gathered into blocks of at most a minute, so that overlapping audio is read once."""
    blocks: list[EmbeddingBlock] = []
    members: list[Region] = []
    for span in spans:
        if members and span.end_ms - members[0].start_ms > LONGEST_BLOCK_MS:
            blocks.append(_block(members))
            members = []
        members.append(span)
    if members:
        blocks.append(_block(members))
    return blocks


def _block(members: Sequence[Region]) -> EmbeddingBlock:
    start_ms = members[0].start_ms
    return EmbeddingBlock(
        start_ms=start_ms,
        end_ms=max(span.end_ms for span in members) + HALF_FRAME_MS,
        spans=tuple((span.start_ms - start_ms, span.end_ms - start_ms) for span in members),
    )


def encoder_gain(speech_level_dbfs: float) -> float:
    """Lifts quiet speech to the level that the encoder was trained at; loud speech stays.

    speech_level_dbfs: level of the audio inside the regions.
    """
    return gain_towards(ENCODER_LEVEL_DBFS, speech_level_dbfs)
