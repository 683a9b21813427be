"""Lengths, tables and clocks that lie, in every container but WAV."""

import struct
from collections.abc import Iterator

from faults.corpora.media.case import BROKEN, DONE, HEARD, REFUSED, TRUNCATED, Case, Sources
from faults.corpora.media.matroska import Track, matroska
from faults.corpora.media.pages import with_checksums, with_granules
from faults.corpora.media.strangers import id3

ANY = (*HEARD, *REFUSED)
U32 = 0xFFFFFFFF


def cases(sources: Sources) -> Iterator[Case]:
    """All of them."""
    yield from flac_lies(sources.forms["flac"], sources.duration_ms)
    yield from mp4_lies(sources.forms["m4a"], sources.duration_ms)
    yield from ogg_lies(sources.forms["ogg"], sources.duration_ms)
    yield from mp3_lies(sources.forms["mp3"], sources.duration_ms)
    yield from matroska_lies()
    yield from adts_lies(sources.forms["aac"], sources.duration_ms)


def flac_lies(flac: bytes, length: int) -> Iterator[Case]:
    """STREAMINFO and metadata blocks; the total has 36 bits from byte 21 on."""
    yield Case("flac-total-2-to-36", flac[:21] + bytes([flac[21] | 0x0F]) + b"\xff" * 4 + flac[26:], TRUNCATED, length)
    yield Case("flac-total-zero", flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:], DONE, length)
    yield Case("flac-total-one", flac[:21] + bytes([flac[21] & 0xF0]) + b"\0\0\0\1" + flac[26:], ANY, None)
    yield Case("flac-rate-zero", flac[:18] + b"\0\0\x02" + flac[21:], ANY)
    yield Case("flac-rate-one", flac[:18] + b"\0\0\x12" + flac[21:], ANY)
    yield Case("flac-rate-655350", flac[:18] + b"\x9f\xff\x62" + flac[21:], ANY)
    yield Case("flac-blocks-of-zero", flac[:8] + bytes(4) + flac[12:], ANY)
    yield Case("flac-frames-of-16-mb", flac[:12] + b"\xff" * 6 + flac[18:], DONE, length)
    yield Case("flac-without-streaminfo", b"fLaC" + flac[42:], ANY)
    yield Case("flac-checksum-wrong", flac[:26] + b"\x5a" * 16 + flac[42:], DONE, length)
    for kind, name in enumerate(("padding", "application", "seektable", "comment", "cuesheet", "picture"), 1):
        yield Case(f"flac-{name}-of-16-mb", flac[:42] + bytes([kind]) + b"\xff\xff\xff" + flac[42:], REFUSED)
        expected = ANY if name == "cuesheet" else HEARD
        yield Case(f"flac-{name}-of-garbage", flac[:42] + bytes([kind]) + b"\0\x01\0" + b"\xff" * 256 + flac[42:], expected, length)
    yield Case("flac-twice", flac + flac, ANY)
    yield Case("flac-then-garbage", flac + b"\xff\xf8" * 9_000, HEARD, length, 500)


def patched(data: bytes, box: bytes, offset: int, value: bytes) -> bytes:
    """The MP4 with bytes replaced, counted from the end of a box's name."""
    at = data.index(box) + 4 + offset
    return data[:at] + value + data[at + len(value) :]


def mp4_lies(m4a: bytes, length: int) -> Iterator[Case]:
    """Boxes of the index: four bytes of version and flags, then fields."""
    u32 = struct.Struct(">I").pack
    for name, value in (("zero", 0), ("one", 1), ("huge", U32), ("negative", 1 << 31)):
        yield Case(f"mp4-movie-duration-{name}", patched(m4a, b"mvhd", 16, u32(value)), HEARD, length)
        yield Case(f"mp4-track-duration-{name}", patched(m4a, b"mdhd", 16, u32(value)), HEARD, length)
        yield Case(f"mp4-movie-timescale-{name}", patched(m4a, b"mvhd", 12, u32(value)), ANY)
        yield Case(f"mp4-track-timescale-{name}", patched(m4a, b"mdhd", 12, u32(value)), ANY)
        yield Case(f"mp4-edit-length-{name}", patched(m4a, b"elst", 8, u32(value)), ANY)
        yield Case(f"mp4-edit-start-{name}", patched(m4a, b"elst", 12, u32(value)), ANY)
        for table in (b"stts", b"stsc", b"stsz", b"stco"):
            yield Case(f"mp4-{table.decode()}-entries-{name}", patched(m4a, table, 8 if table == b"stsz" else 4, u32(value)), ANY)
        yield Case(f"mp4-sample-ticks-{name}", patched(m4a, b"stts", 12, u32(value)), ANY)
        yield Case(f"mp4-chunk-place-{name}", patched(m4a, b"stco", 8, u32(value)), ANY)
        yield Case(f"mp4-codec-config-{name}", patched(m4a, b"esds", 1, u32(value)), ANY)
    yield Case("mp4-movie-duration-2-to-63", with_long_header(m4a), HEARD, length)
    for name, size in (("zero", 0), ("one", 1), ("seven", 7), ("huge", U32)):
        yield Case(f"mp4-index-size-{name}", m4a.replace(u32(len(m4a) - m4a.index(b"moov") + 4) + b"moov", u32(size) + b"moov"), ANY)
    yield Case("mp4-without-samples", m4a[: m4a.index(b"mdat") - 4] + m4a[m4a.index(b"moov") - 4 :], ANY)
    yield Case("mp4-nested-a-thousand-deep", b"\0\0\0\x18ftypM4A \0\0\0\0M4A mp42" + nested(1_000), BROKEN)
    yield Case("mp4-tag-of-1-gb", m4a + u32(1 << 30) + b"udta" + u32((1 << 30) - 8) + b"meta", HEARD, length)
    yield Case("mp4-brand-of-no-kind", m4a.replace(b"ftypM4A ", b"ftypzzzz", 1), DONE, length)


def with_long_header(m4a: bytes) -> bytes:
    """The movie header in its form of 64 bits, with the longest duration there is. The index comes last, so nothing else moves."""
    moov, mvhd = m4a.index(b"moov") - 4, m4a.index(b"mvhd") - 4
    times = bytes(16) + struct.pack(">IQ", 1_000, (1 << 63) - 1)
    header = struct.pack(">I", 108 + 12) + b"mvhd\1\0\0\0" + times + m4a[mvhd + 28 : mvhd + 108]
    return m4a[:moov] + struct.pack(">I", len(m4a) - moov + 12) + b"moov" + header + m4a[mvhd + 108 :]


def nested(depth: int) -> bytes:
    """Boxes in boxes."""
    data = b""
    for _ in range(depth):
        data = struct.pack(">I", 8 + len(data)) + b"moov" + data
    return data


def ogg_lies(ogg: bytes, length: int) -> Iterator[Case]:
    """Granules are Ogg's clock. Without a checksum that fits, libav drops nothing, so the lies reach it."""
    for name, granules in (("minus-one", [-1]), ("huge", [1 << 62]), ("zero", [0]), ("backwards", [900_000, 500, 90_000, 7])):
        yield Case(f"ogg-granules-{name}", with_granules(ogg, granules), ANY)
    yield Case("ogg-checksums-wrong", ogg[:22] + b"\0\0\0\0" + ogg[26:], ANY)
    yield Case("ogg-twice", ogg + ogg, ANY)
    yield Case("ogg-without-first-page", ogg[ogg.index(b"OggS", 4) :], REFUSED)
    head = ogg.index(b"OpusHead")
    for name, at, value in (
        ("channels-255", 9, b"\xff"),
        ("channels-zero", 9, b"\0"),
        ("preskip-65535", 10, b"\xff\xff"),
        ("version-255", 8, b"\xff"),
    ):
        yield Case(f"ogg-{name}", with_checksums(ogg[: head + at] + value + ogg[head + at + len(value) :]), ANY)
    tags = ogg.index(b"OpusTags") + 8
    yield Case("ogg-tag-of-4-gb", with_checksums(ogg[:tags] + b"\xff\xff\xff\xff" + ogg[tags + 4 :]), HEARD, length)
    yield Case("ogg-flipped-serials", with_checksums(ogg.replace(ogg[14:18], b"\1\2\3\4", 1)), ANY)


def mp3_lies(mp3: bytes, length: int) -> Iterator[Case]:
    """The Xing header's count of frames, and tags of ID3 and APE."""
    at = next(mp3.index(mark) for mark in (b"Xing", b"Info") if mark in mp3)
    for name, frames in (("one", 1), ("huge", U32), ("ten-hours", 500_000)):
        expected = HEARD if name == "one" else TRUNCATED
        yield Case(f"mp3-frames-{name}", mp3[: at + 8] + struct.pack(">I", frames) + mp3[at + 12 :], expected, length, 250)
    yield Case("mp3-bytes-huge", mp3[: at + 12] + b"\xff" * 4 + mp3[at + 16 :], HEARD, length, 250)
    yield Case("mp3-without-xing", mp3[mp3.index(b"\xff\xf3", at) :], HEARD, length, 250)
    yield Case("mp3-tag-of-256-mb", id3(b"TIT2", b"\0title", (1 << 28) - 1) + mp3, ANY)
    yield Case("mp3-tag-of-negative-length", b"ID3\x04\0\0\xff\xff\xff\xff" + mp3, HEARD, length, 250)
    yield Case("mp3-tag-of-ten-thousand-frames", many_frames(10_000) + mp3, DONE, length, 250)
    yield Case("mp3-ape-of-4-gb", mp3 + b"APETAGEX" + struct.pack("<IIII", 2_000, U32, U32, 0xA0000000) + bytes(8), HEARD, length, 250)
    yield Case("mp3-tag-only", id3(b"TIT2", b"\0title"), BROKEN)
    yield Case("mp3-one-frame", b"\xff\xf3\x48\xc4" + bytes(140), REFUSED)


def many_frames(count: int) -> bytes:
    """An ID3 tag of this many text frames."""
    return id3(b"TXXX", b"\0a\0b" + (b"TXXX\0\0\0\4\0\0\0a\0b" * count))


def matroska_lies() -> Iterator[Case]:
    """Floats and clocks: Matroska writes its length and rate as floating point."""
    nan, infinity = float("nan"), float("inf")
    for name, duration in (("nan", nan), ("1e300", 1e300), ("infinite", infinity), ("negative", -1e9), ("zero", 0.0)):
        yield Case(f"matroska-duration-{name}", matroska([Track()], duration=duration), HEARD, 3_000)
    for name, rate_hz in (
        ("nan", nan),
        ("1e300", 1e300),
        ("infinite", infinity),
        ("negative", -16_000.0),
        ("zero", 0.0),
        ("one", 1.0),
        ("500k", 5e5),
    ):
        yield Case(f"matroska-rate-{name}", matroska([Track(rate_hz=rate_hz)]), ANY)
    for channels in (0, 33, 255, 1 << 31, U32):
        yield Case(f"matroska-channels-{channels}", matroska([Track(channels=channels)]), ANY)
    for name, scale in (("zero", 0), ("one", 1), ("huge", (1 << 63) - 1)):
        yield Case(f"matroska-timescale-{name}", matroska([Track()], timescale=scale), ANY)
    for name, start in (("negative", -30_000), ("late", 30_000)):
        yield Case(f"matroska-times-{name}", matroska([Track()], first_tick=start), HEARD, 3_000)
    yield Case("matroska-cluster-clock-huge", matroska([Track()], cluster_tick=(1 << 63) - 1), ANY)
    yield Case("matroska-without-tracks", matroska([]), REFUSED)


def adts_lies(aac: bytes, length: int) -> Iterator[Case]:
    """Frame lengths of ADTS have 13 bits, at bit 30 of each frame."""
    for name, value in (("zero", b"\0\x1f"), ("huge", b"\xff\xff")):
        yield Case(f"adts-first-frame-{name}", aac[:4] + value + aac[6:], ANY)
    yield Case("adts-rate-reserved", aac[:2] + bytes([aac[2] | 0x3C]) + aac[3:], ANY)
    yield Case("adts-garbage-between", aac[:7_000] + b"\x55" * 3_000 + aac[7_000:], HEARD, length, 400)
