"""Files with far more in them than one stream of sound: streams, chapters, tags, pictures, subtitles."""

import struct
from collections.abc import Iterator

from faults.corpora.media.case import DONE, HEARD, REFUSED, Case, Sources
from faults.corpora.media.matroska import Track, element, integer, matroska
from faults.corpora.media.strangers import SUBTITLES, id3, png, syncsafe, with_chunk

TEXT = Track(b"S_TEXT/UTF8", kind=17)
PICTURE_PIXELS = 8_000
ANY = (*HEARD, *REFUSED)


def cases(sources: Sources) -> Iterator[Case]:
    """All of them."""
    yield from streams()
    yield from chapters(sources)
    yield from tags(sources)
    yield from pictures(sources)
    yield from subtitles()


def streams() -> Iterator[Case]:
    """Many streams; the first that is audio counts, and more than 64 are refused."""
    for count in (2, 63, 64):
        yield Case(f"{count}-streams", matroska([Track()] * count), DONE, 3_000)
    yield Case("126-streams", matroska([Track()] * 126), ANY, None)
    yield Case("text-before-sound", matroska([TEXT, Track()]), DONE, 3_000)
    yield Case("63-texts-before-sound", matroska([TEXT] * 63 + [Track()]), DONE, 3_000)
    yield Case("video-of-no-kind-before-sound", matroska([Track(b"V_NONE", kind=1), Track()]), DONE, 3_000)


def chapters(sources: Sources) -> Iterator[Case]:
    """Ten thousand chapters, and more."""
    for count in (10, 10_000):
        atoms = b"".join(atom(number) for number in range(count))
        yield Case(f"matroska-{count}-chapters", matroska([Track()], extras=element("1043a770", element("45b9", atoms))), DONE, 3_000)
    frame = b"CHAP" + syncsafe(18) + b"\0\0a\0" + struct.pack(">IIII", 0, 1, 0, 1)
    body = frame * 10_000
    yield Case("mp3-10000-chapters", b"ID3\x04\0\0" + syncsafe(len(body)) + body + sources.forms["mp3"], DONE, sources.duration_ms, 250)


def atom(number: int) -> bytes:
    """A chapter of Matroska."""
    return element("b6", element("73c4", integer(number + 1)) + element("91", integer(number)) + element("92", integer(number + 1)))


def tags(sources: Sources) -> Iterator[Case]:
    """Tags that are long, and tags that claim a gigabyte."""
    long_text = b"\0" + b"lalala " * 700_000
    yield Case("mp3-title-of-5-mb", id3(b"TIT2", long_text) + sources.forms["mp3"], DONE, sources.duration_ms, 250)
    yield Case(
        "wav-comment-of-5-mb", with_chunk(sources.forms["wav"], b"LIST", b"INFOICMT" + struct.pack("<I", len(long_text)) + long_text), DONE
    )
    gigabyte = 1 << 30
    simple = element("45a3", b"TITLE") + element("4487", b"text", gigabyte)
    claims = {
        "tag": element("1254c367", element("7373", element("67c8", simple))),
        "tags": element("1254c367", b"", gigabyte),
        "attachment": element(
            "1941a469", element("61a7", element("466e", b"a.png") + element("4660", b"image/png") + element("465c", b"x", gigabyte))
        ),
        "void": element("ec", b"", gigabyte),
        "private": element("1654ae6b", element("ae", element("63a2", b"x", gigabyte))),
    }
    for name, extras in claims.items():
        yield Case(f"matroska-{name}-of-1-gb", matroska([Track()], extras=extras), ANY)
    comment = struct.pack("<I", 5) + b"steno" + struct.pack("<I", 0xFFFFFFFF) + struct.pack("<I", gigabyte) + b"TITLE=x"
    flac = sources.forms["flac"]
    yield Case(
        "flac-comments-of-4-billion", flac[:42] + b"\4" + len(comment).to_bytes(3, "big") + comment + flac[42:], HEARD, sources.duration_ms
    )


def pictures(sources: Sources) -> Iterator[Case]:
    """Covers that would unpack to 192 MB, and a cover with nothing to hear."""
    cover, length = png(PICTURE_PIXELS, PICTURE_PIXELS), sources.duration_ms
    apic = b"\0image/png\0\3\0" + cover
    flac = sources.forms["flac"]
    block = struct.pack(">I", 3) + struct.pack(">I", 9) + b"image/png" + struct.pack(">IIIII", 0, PICTURE_PIXELS, PICTURE_PIXELS, 24, 0)
    block += struct.pack(">I", len(cover)) + cover
    attachment = element(
        "61a7", element("466e", b"cover.png") + element("4660", b"image/png") + element("46ae", integer(9)) + element("465c", cover)
    )
    yield Case("mp3-cover-bomb", id3(b"APIC", apic) + sources.forms["mp3"], DONE, length, 250)
    yield Case("mp3-only-cover-bomb", id3(b"APIC", apic), REFUSED)
    yield Case("flac-cover-bomb", flac[:42] + b"\6" + len(block).to_bytes(3, "big") + block + flac[42:], DONE, length)
    yield Case("matroska-cover-bomb", matroska([Track()], extras=element("1941a469", attachment)), DONE, 3_000)
    yield Case("mp4-cover-bomb", with_cover(sources.forms["m4a"], cover), DONE, length)
    linked = b"\0-->\0\3\0http://127.0.0.1:9/cover.png"
    yield Case("mp3-cover-by-link", id3(b"APIC", linked) + sources.forms["mp3"], HEARD, length, 250)


def with_cover(m4a: bytes, cover: bytes) -> bytes:
    """The MP4, whose index comes last, with a cover in the tags of the index."""
    at = m4a.index(b"moov") - 4
    handler = box(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
    tags = box(b"udta", box(b"meta", bytes(4) + handler + box(b"ilst", box(b"covr", box(b"data", struct.pack(">II", 14, 0) + cover)))))
    return m4a[:at] + box(b"moov", m4a[at + 8 :] + tags)


def box(name: bytes, data: bytes) -> bytes:
    """Length, name, data."""
    return struct.pack(">I", 8 + len(data)) + name + data


def subtitles() -> Iterator[Case]:
    """Subtitles alone, and a flood of them beside the sound."""
    yield Case("only-subtitles.mkv", matroska([TEXT]), REFUSED)
    yield Case("only-subtitles.srt", SUBTITLES * 300, REFUSED, filename="words.srt")
    flood = b"".join(element("a3", b"\x82\0\0\x80" + b"{\\p9}m 0 0 l 9 9" * 20) for _ in range(20_000))
    whole = matroska([Track(), TEXT])
    yield Case("subtitle-flood", whole + element("1f43b675", element("e7", integer(3_000)) + flood), HEARD, 3_000)
