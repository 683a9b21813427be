"""Small files that unpack to hours: only what decodes may count, and only up to the limit."""

import struct
from collections.abc import Iterator

from faults.corpora.media.case import DONE, TOO_LONG, Case
from faults.corpora.media.pages import POLYNOMIAL, crc, crc_table, page, with_checksum

HOUR_MS = 3_600_000
LIMIT_MS = 10 * HOUR_MS
RATE_HZ = 16_000
BLOCK_SAMPLES = 65_535
OPUS_RATE_HZ = 48_000


def cases(slow: bool) -> Iterator[Case]:
    """The limit is ten hours; without the slow ones, bombs that packets alone give away."""
    yield Case("flac-1-second", flac_silence(1_000), DONE, 1_000, 0)
    if slow:
        yield Case("flac-100-hours", flac_silence(100 * HOUR_MS), TOO_LONG, slow=True)
        yield Case("flac-at-the-limit", flac_silence(LIMIT_MS), DONE, LIMIT_MS, 0, slow=True)
        yield Case("flac-1-ms-past-the-limit", flac_silence(LIMIT_MS + 1), TOO_LONG, slow=True)
        yield Case("flac-2-s-past-the-limit", flac_silence(LIMIT_MS + 2_000), TOO_LONG, slow=True)
        yield Case("opus-dtx-12-hours", opus_silence(12 * HOUR_MS), TOO_LONG, slow=True)
        yield Case("opus-dtx-9-hours", opus_silence(9 * HOUR_MS), DONE, 9 * HOUR_MS, 200, slow=True)
        yield Case("mp3-12-hours", mp3_silence(12 * HOUR_MS), TOO_LONG, slow=True)
        yield Case("mp3-9-hours", mp3_silence(9 * HOUR_MS), DONE, 9 * HOUR_MS, 200, slow=True)


def flac_silence(duration_ms: int) -> bytes:
    """Blocks of one constant: 16 bytes for four seconds. Layout: RFC 9639."""
    total = duration_ms * RATE_HZ // 1000
    sizes = struct.pack(">HH", 16, BLOCK_SAMPLES) + bytes(6)
    info = sizes + (RATE_HZ << 44 | 15 << 36 | total).to_bytes(8, "big") + bytes(16)
    crc8, crc16 = crc_table(0x07, 8), crc_table(0x8005, 16)
    starts = range(0, total, BLOCK_SAMPLES)
    frames = (flac_frame(start, min(BLOCK_SAMPLES, total - start), crc8, crc16) for start in starts)
    return b"fLaC\x80\0\0\x22" + info + b"".join(frames)


def flac_frame(first_sample: int, samples: int, crc8: list[int], crc16: list[int]) -> bytes:
    """A block of zeros, with a number of its first sample as blocks of any size have."""
    head = b"\xff\xf9\x75\x08" + long_utf8(first_sample) + struct.pack(">H", samples - 1)
    body = head + bytes([crc(head, crc8, 8)]) + b"\0\0\0"
    return body + crc(body, crc16, 16).to_bytes(2, "big")


def long_utf8(value: int) -> bytes:
    """A number of up to 36 bits, coded as UTF-8 would."""
    if value < 0x80:
        return bytes([value])
    rest = next(count for count in range(1, 7) if value < 1 << (6 * count + 6 - count))
    tail = [0x80 | value >> 6 * place & 0x3F for place in reversed(range(rest))]
    return bytes([(0xFF << (7 - rest) & 0xFF) | value >> 6 * rest, *tail])


def opus_silence(duration_ms: int) -> bytes:
    """Packets of a single byte: two frames of 60 ms in which nothing is sent (RFC 6716, discontinuous transmission)."""
    table = crc_table(POLYNOMIAL, 32)
    head = b"OpusHead\1\1" + struct.pack("<HIhB", 0, OPUS_RATE_HZ, 0, 0)
    first = [page(1, 0, 0, [head], 2), page(1, 1, 0, [b"OpusTags\0\0\0\0\0\0\0\0"])]
    packets = duration_ms // 120
    rest = []
    for number, start in enumerate(range(0, packets, 255)):
        count = min(255, packets - start)
        last = 4 if start + count == packets else 0
        rest.append(page(1, number + 2, (start + count) * 120 * OPUS_RATE_HZ // 1000, [b"\x19"] * count, last))
    return b"".join(with_checksum(each, table) for each in [*first, *rest])


def mp3_silence(duration_ms: int) -> bytes:
    """One frame of MPEG-2.5 layer III at 8 kbit/s and 8 kHz, 72 bytes for 72 ms, over and over."""
    return (b"\xff\xe3\x18\xc4" + bytes(68)) * (duration_ms // 72)
