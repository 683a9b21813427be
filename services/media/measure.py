"""What a piece of media is and how long it really is. Runs only inside a sandboxed child."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction

from av.audio.stream import AudioStream
from av.packet import Packet

from services.media.child import Report
from services.media.container import Source, open_source
from services.media.descriptor import DescriptorReader
from services.media.errors import MediaTooLong
from services.media.formats import name_media_type
from services.media.wire import Json

SLACK_MS = 1_000
HEAD_MS = 5_000
MAX_HEAD_PACKETS = 4_000
# Claimed packet lengths are believed while they stay near those of the decoded head.
BELIEVED_ERROR_MS = 300
BELIEVED_RATIO = 2.0


def measure(report: Report, file: DescriptorReader, *, max_duration_ms: int) -> Mapping[str, Json]:
    """The facts of the media in `file`.

    The duration is the sum of its packets when a decoded head bears them out, otherwise of all that decodes.
    """
    with open_source(file) as source:
        tally = Tally(max_duration_ms)
        tally.read(source)
        facts = describe(source)
    if not tally.believable():
        tally = count_decoded(file, max_duration_ms)
    duration_ms = tally.duration_ms()
    if duration_ms > max_duration_ms:
        raise MediaTooLong(f"the audio is longer than {max_duration_ms} ms")
    return {**facts, "duration_ms": duration_ms, "bit_rate": tally.bytes * 8000 // duration_ms}


def describe(source: Source) -> dict[str, Json]:
    """Everything but the length."""
    context = source.stream.codec_context
    return {
        "container": source.name,
        "codec": context.codec.canonical_name,
        "sample_rate_hz": context.sample_rate,
        "channels": context.layout.nb_channels,
        "media_type": name_media_type(source.name, source.has_video),
        "has_video": source.has_video,
    }


def count_decoded(file: DescriptorReader, max_duration_ms: int) -> Tally:
    """The tally of a file whose packets lie about their length: all of it is decoded."""
    with open_source(file) as source:
        tally = Tally(max_duration_ms, head_ms=max_duration_ms + 2 * SLACK_MS, max_head_packets=None)
        tally.read(source)
    return tally


class Tally:
    """Adds up packets: what they claim and, over the head of the file, what they decode to."""

    def __init__(self, max_duration_ms: int, head_ms: int = HEAD_MS, max_head_packets: int | None = MAX_HEAD_PACKETS) -> None:
        self.max_duration_ms = max_duration_ms
        self.head_ms = head_ms
        self.max_head_packets = max_head_packets
        self.tick_ms = Fraction(0)
        self.ms_per_tick = 0.0
        self.samples: Counter[int] = Counter()
        self.rest_ticks = 0
        self.bytes = 0
        self.packets = 0
        self.decoded_ms = 0.0
        self.claimed_ms = 0.0
        self.claimed_head_ms = 0.0
        self.longest_head_ms = 0.0
        self.head_packets = 0
        self.believed = True
        self.in_head = True

    def read(self, source: Source) -> None:
        """Go through the packets. Raises MediaTooLong, BrokenMedia or UnsupportedMedia."""
        # A float once: a Fraction per packet doubles the time of a long file.
        self.tick_ms = (source.stream.time_base or Fraction(0)) * 1000
        self.ms_per_tick = float(self.tick_ms)
        for packet in source.packets():
            if self.in_head:
                self.add_head(source, packet)
            elif packet.size and not self.add_claim(packet):
                return
            self.check_limit()
        if self.in_head:
            source.check_whole(round(self.decoded_ms))

    def add_head(self, source: Source, packet: Packet[AudioStream]) -> None:
        """Decode a packet of the head."""
        for frame in source.frames(packet):
            self.samples[frame.sample_rate] += frame.samples
            self.decoded_ms += frame.samples * 1000 / frame.sample_rate
        claim_ms = max(0, packet.duration or 0) * self.ms_per_tick
        self.count(packet, claim_ms)
        self.longest_head_ms = max(self.longest_head_ms, claim_ms)
        self.claimed_head_ms = self.claimed_ms
        self.head_packets = self.packets
        if self.decoded_ms >= self.head_ms or self.packets == self.max_head_packets:
            self.leave_head(source)

    def leave_head(self, source: Source) -> None:
        """From here on packets are only counted."""
        source.check_decoded(round(self.decoded_ms))
        self.in_head = False
        self.believed = abs(self.claimed_head_ms - self.decoded_ms) <= BELIEVED_ERROR_MS

    def add_claim(self, packet: Packet[AudioStream]) -> bool:
        """Believe a packet; False when it claims what no packet of the head came near."""
        claim_ms = max(0, packet.duration or 0) * self.ms_per_tick
        self.count(packet, claim_ms)
        self.rest_ticks += max(0, packet.duration or 0)
        self.believed = self.believed and 0 < claim_ms <= BELIEVED_RATIO * self.longest_head_ms
        return self.believed

    def count(self, packet: Packet[AudioStream], claim_ms: float) -> None:
        """Add one packet to the totals."""
        self.bytes += packet.size
        self.packets += 1
        self.claimed_ms += claim_ms

    def believable(self) -> bool:
        """Whether the claims past the head can stand: on the whole they are as long as the head's."""
        if self.in_head or not self.believed:
            return self.believed
        rest = self.packets - self.head_packets
        mean_head_ms = self.claimed_head_ms / self.head_packets
        mean_rest_ms = (self.claimed_ms - self.claimed_head_ms) / max(rest, 1)
        return rest == 0 or mean_rest_ms * BELIEVED_RATIO >= mean_head_ms

    def duration_ms(self) -> int:
        """Decoded head and claimed rest, rounded up. Exact: ten hours are not a millisecond too long."""
        decoded_ms = sum((Fraction(samples * 1000, rate_hz) for rate_hz, samples in self.samples.items()), Fraction(0))
        return max(1, math.ceil(decoded_ms + self.rest_ticks * self.tick_ms))

    def check_limit(self) -> None:
        """Raises MediaTooLong when believed audio is well past the limit."""
        so_far_ms = self.decoded_ms + self.claimed_ms - self.claimed_head_ms
        if self.believed and so_far_ms > self.max_duration_ms + SLACK_MS:
            raise MediaTooLong(f"the audio is longer than {self.max_duration_ms} ms")
