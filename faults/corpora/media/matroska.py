"""A writer of Matroska that writes whatever it is told. Element ids: RFC 9559."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

RATE_HZ = 16_000
BLOCK_MS = 100
BLOCKS = 30
UNKNOWN_BYTES = b"\x01\xff\xff\xff\xff\xff\xff\xff"


@dataclass(frozen=True)
class Track:
    """A stream of 16 kHz mono int16, or of text; states a form that may be another."""

    codec: bytes = b"A_PCM/INT/LIT"
    kind: int = 2
    rate_hz: float = RATE_HZ
    channels: int = 1
    bits: int = 16

    def entry(self, number: int) -> bytes:
        """Its TrackEntry."""
        audio = element("b5", struct.pack(">d", self.rate_hz)) + element("9f", integer(self.channels)) + element("6264", integer(self.bits))
        form = element("e1", audio) if self.kind == 2 else b""
        named = element("d7", integer(number)) + element("73c5", integer(number)) + element("83", integer(self.kind))
        return element("ae", named + element("86", self.codec) + form)


def element(identity: str, data: bytes, claimed: int | None = None) -> bytes:
    """Id, length in eight bytes, data; the length may be another."""
    return bytes.fromhex(identity) + ((1 << 56) + (len(data) if claimed is None else claimed)).to_bytes(8, "big") + data


def integer(value: int) -> bytes:
    """Eight bytes."""
    return struct.pack(">Q", value)


def matroska(
    tracks: Sequence[Track],
    *,
    duration: float = BLOCK_MS * BLOCKS,
    timescale: int = 1_000_000,
    first_tick: int = 0,
    cluster_tick: int = 0,
    extras: bytes = b"",
) -> bytes:
    """Three seconds on every track. Ticks: milliseconds at the usual timescale. extras: elements before the first cluster."""
    head = element("4282", b"matroska") + element("4287", integer(4)) + element("4285", integer(2))
    info = element("2ad7b1", integer(timescale)) + element("4489", struct.pack(">d", duration))
    entries = b"".join(track.entry(number) for number, track in enumerate(tracks, 1))
    blocks = b"".join(
        block(track, number, first_tick + place * BLOCK_MS) for place in range(BLOCKS) for number, track in enumerate(tracks, 1)
    )
    cluster = element("1f43b675", element("e7", integer(cluster_tick)) + blocks)
    segment = element("1549a966", info) + element("1654ae6b", entries) + extras + cluster
    return element("1a45dfa3", head) + bytes.fromhex("18538067") + UNKNOWN_BYTES + segment


def block(track: Track, number: int, tick: int) -> bytes:
    """A SimpleBlock of a hundred milliseconds."""
    payload = bytes(range(0, 256, 8)) * (RATE_HZ * BLOCK_MS // 1000 * 2 // 32) if track.kind == 2 else b"Hello there."
    return element("a3", bytes([0x80 | number]) + struct.pack(">hB", max(-32_768, min(32_767, tick)), 0x80) + payload)
