"""WAV headers that lie about rate, channels, bits and sizes."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from faults.corpora.media.case import BROKEN, DONE, HEARD, REFUSED, TRUNCATED, UNSUPPORTED, Case, Outcome, Sources

RATE_HZ = 16_000
BODY = bytes(range(0, 256, 2)) * 750
BODY_MS = len(BODY) // 2 * 1000 // RATE_HZ
HUGE = 0xFFFFFFFF
ANY = (*HEARD, *REFUSED)
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE


@dataclass(frozen=True)
class Head:
    """What the header states; the body is three seconds of 16 kHz mono int16 whatever it says."""

    tag: int = PCM
    channels: int = 1
    rate_hz: int = RATE_HZ
    align: int = 2
    bits: int = 16
    riff_bytes: int = 36 + len(BODY)
    form_bytes: int = 16
    data_bytes: int = len(BODY)

    def form(self) -> bytes:
        """The `fmt ` chunk."""
        byte_rate = min(self.rate_hz * self.align, HUGE)
        fields = struct.pack("<HHIIHH", self.tag, self.channels, self.rate_hz, byte_rate, self.align, self.bits)
        return b"fmt " + struct.pack("<I", self.form_bytes) + fields

    def wav(self, body: bytes = BODY) -> bytes:
        """The whole file."""
        start = b"RIFF" + struct.pack("<I", self.riff_bytes) + b"WAVE"
        return start + self.form() + b"data" + struct.pack("<I", self.data_bytes) + body


def cases(sources: Sources) -> Iterator[Case]:
    """All of them."""
    yield from sizes()
    yield from forms()
    yield from structures()
    yield from large_files()
    for name in ("wav_adpcm", "wav_mulaw"):
        yield Case(f"wav-{name}", sources.forms[name], DONE, sources.duration_ms)


def sizes() -> Iterator[Case]:
    """Lengths that are not those of the body."""
    told: dict[str, tuple[Head, tuple[Outcome, ...]]] = {
        "data-size-zero": (Head(data_bytes=0), DONE),
        "data-size-4gb": (Head(data_bytes=HUGE, riff_bytes=HUGE), DONE),
        "data-size-2gb": (Head(data_bytes=1 << 31), TRUNCATED),
        "data-size-odd": (Head(data_bytes=len(BODY) - 1), DONE),
        "data-size-ten-hours": (Head(data_bytes=36_000 * RATE_HZ * 2), TRUNCATED),
        "riff-size-zero": (Head(riff_bytes=0), DONE),
        "riff-size-huge": (Head(riff_bytes=HUGE), DONE),
        "riff-size-one": (Head(riff_bytes=1), DONE),
    }
    for name, (head, expected) in told.items():
        yield Case(f"wav-{name}", head.wav(), expected, BODY_MS)
    yield Case("wav-body-empty", Head(data_bytes=0).wav(b""), BROKEN)
    yield Case("wav-body-one-byte", Head().wav(b"\1"), BROKEN)
    yield Case("wav-body-odd", Head().wav(BODY[:-1]), HEARD, BODY_MS)
    yield Case("wav-body-half-a-second", Head(data_bytes=RATE_HZ).wav(BODY[:RATE_HZ]), DONE, 500)
    yield Case("wav-body-half-a-second-of-three", Head().wav(BODY[:RATE_HZ]), BROKEN)


def forms() -> Iterator[Case]:
    """Rates, channels, bits and codecs out of bounds: a second at 1 Hz is 16,000 samples out of one."""
    for rate_hz in (0, 1, 7, 100, 3_999, 384_001, 1 << 24, (1 << 31) - 1, 1 << 31, HUGE):
        yield Case(f"wav-rate-{rate_hz}", Head(rate_hz=rate_hz).wav(), REFUSED)
    yield Case("wav-rate-4000", Head(rate_hz=4_000).wav(), DONE, 4 * BODY_MS)
    yield Case("wav-rate-384000", Head(rate_hz=384_000).wav(), DONE, BODY_MS // 24)
    for channels in (0, 33, 64, 255, 65_535):
        yield Case(f"wav-channels-{channels}", Head(channels=channels, align=2 * channels & 0xFFFF).wav(), REFUSED)
    yield Case("wav-channels-32", Head(channels=32, align=64).wav(), DONE, 94, 1)
    for bits in (0, 7, 64, 255, 65_535):
        yield Case(f"wav-bits-{bits}", Head(bits=bits).wav(), ANY)
    for align in (0, 1, 3, 65_535):
        yield Case(f"wav-align-{align}", Head(align=align).wav(), ANY)
    yield Case("wav-float-of-16-bits", Head(tag=FLOAT).wav(), REFUSED)
    yield Case("wav-float", Head(tag=FLOAT, align=4, bits=32).wav(), DONE, BODY_MS // 2)
    for tag in (0, 0x0161, 0x0162, 0x7A21, 0xDEAD):
        yield Case(f"wav-codec-{tag:04x}", Head(tag=tag).wav(), UNSUPPORTED)
    for tag in (0x0002, 0x0011, 0x0031, 0x0050, 0x0055, 0x00FF, 0x2000):
        yield Case(f"wav-codec-{tag:04x}-over-samples", Head(tag=tag).wav(), ANY)


def structures() -> Iterator[Case]:
    """Chunks that are missing, doubled, misplaced or longer than the file."""
    whole, at = Head().wav(), Head().wav().index(b"data")
    yield Case("wav-without-form", whole[:12] + whole[at:], REFUSED)
    yield Case("wav-without-data", whole[:at], BROKEN)
    yield Case("wav-data-before-form", whole[:12] + whole[at:] + Head().form(), ANY, BODY_MS)
    yield Case("wav-two-forms", whole[:at] + Head(rate_hz=1).form() + whole[at:], ANY)
    yield Case("wav-second-form-honest", Head(rate_hz=1).wav()[:at] + Head().form() + whole[at:], ANY)
    for size in (0, 2, 15, 17, HUGE):
        yield Case(f"wav-form-size-{size}", Head(form_bytes=size).wav(), ANY)
    for name in (b"LIST", b"id3 ", b"bext", b"cue ", b"iXML", b"junk"):
        claim = whole[:at] + name + struct.pack("<I", 1 << 30) + b"INFO" + whole[at:]
        yield Case(f"wav-{name.decode().strip().lower()}-of-1-gb", claim, REFUSED)
        after = whole + name + struct.pack("<I", 1 << 30) + b"INFO"
        yield Case(f"wav-{name.decode().strip().lower()}-of-1-gb-at-the-end", after, ANY if name == b"bext" else DONE, BODY_MS)
    yield Case("wav-extensible-of-no-kind", Head(tag=EXTENSIBLE, form_bytes=40).wav(b"\x16\0\x10\0" + bytes(20) + BODY), REFUSED)


def large_files() -> Iterator[Case]:
    """RF64 and W64, whose sizes have 64 bits."""
    sizes64 = {"honest": len(BODY), "huge": 1 << 62, "negative": (1 << 64) - 1, "zero": 0}
    for label, size in sizes64.items():
        chunk = b"ds64" + struct.pack("<IQQQI", 28, size, size, size // 2, 0)
        body = Head(data_bytes=HUGE).wav()[12:]
        data = b"RF64\xff\xff\xff\xffWAVE" + chunk + body
        yield Case(f"wav-rf64-{label}", data, DONE if label == "honest" else ANY)
