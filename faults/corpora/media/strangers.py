"""What is no media at all, what is called something else than it is, and what is two things at once."""

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator

from faults.corpora.media.case import DONE, EMPTY, HEARD, REFUSED, UNSUPPORTED, Case, Sources

LETTER = b"This is a letter, not a recording.\n" * 100
HTML = b"<!DOCTYPE html><html><body><script>alert(1)</script></body></html>\n" * 40
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><rect/></svg>'
PDF = b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n" * 60 + b"%%EOF"
ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 2, 62, 1) + bytes(2_000)
SUBTITLES = b"1\n00:00:00,000 --> 00:00:02,000\nHello there.\n\n" * 100
EMPTY_ID3 = b"ID3\x04\0\0\0\0\0\0"


def cases(sources: Sources) -> Iterator[Case]:
    """All of them."""
    yield from nearly_nothing()
    yield from strangers()
    yield from misnamed(sources)
    yield from polyglots(sources)
    yield Case("video-only.mp4", sources.forms["mp4_pictures"], REFUSED)


def nearly_nothing() -> Iterator[Case]:
    """Empty files, single bytes, bare magic numbers."""
    yield Case("zero-bytes", b"", EMPTY, filename="empty.mp3")
    for label, data in (("null", b"\0"), ("letter", b"x"), ("newline", b"\n"), ("nulls", bytes(4_096)), ("ones", b"\xff" * 4_096)):
        yield Case(f"only-{label}", data, REFUSED)
    magics = {"id3": b"ID3", "flac": b"fLaC", "riff": b"RIFF\x24\0\0\0WAVE", "ogg": b"OggS", "ebml": b"\x1a\x45\xdf\xa3"}
    magics |= {
        "ftyp": b"\0\0\0\x18ftypM4A \0\0\0\0M4A mp42",
        "moov": b"\0\0\0\x08moov",
        "form": b"FORM\0\0\0\x04AIFF",
        "adts": b"\xff\xf1\x50\x80",
    }
    for label, data in magics.items():
        yield Case(f"magic-{label}", data, REFUSED)
        yield Case(f"magic-{label}-then-nulls", data + bytes(3_000), REFUSED)
        yield Case(f"magic-{label}-then-text", data + LETTER, REFUSED)


def strangers() -> Iterator[Case]:
    """Files of other kinds."""
    kinds = {"letter.txt": LETTER, "page.html": HTML, "picture.svg": SVG, "paper.pdf": PDF, "program.elf": ELF, "words.srt": SUBTITLES}
    kinds |= {"archive.zip": zip_of(LETTER), "bomb.zip": zip_of(bytes(20_000_000)), "bomb.gz": gzip.compress(bytes(20_000_000), mtime=0)}
    kinds |= {"picture.png": png(8, 8), "picture.gif": b"GIF89a" + bytes(500), "picture.jpg": b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(800)}
    kinds |= {"bomb.png": png(2_000, 2_000), "class.class": b"\xca\xfe\xba\xbe" + bytes(800), "table.csv": b"a,b,c\n1,2,3\n" * 200}
    kinds |= {"data.json": b'{"a": [' + b"[" * 3_000, "words.vtt": b"WEBVTT\n\n00:00.000 --> 00:02.000\nHello\n" * 40}
    kinds |= {
        "words.ass": b"[Script Info]\n[Events]\nDialogue: 0,0:00:00.00,0:00:01.00,,hello\n",
        "song.mid": b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk" + bytes(99),
    }
    kinds |= {
        "stream.ts": (b"\x47\x40\0\x10" + bytes(184)) * 40,
        "stream.mpg": b"\0\0\1\xba" + bytes(2_000),
        "video.flv": b"FLV\1\5\0\0\0\t" + bytes(900),
    }
    kinds |= {
        "video.avi": b"RIFF\0\x10\0\0AVI LIST" + bytes(900),
        "song.amr": b"#!AMR\n" + bytes(900),
        "song.mod": bytes(1_080) + b"M.K." + bytes(900),
    }
    for name, data in kinds.items():
        yield Case(f"stranger-{name}", data, REFUSED if name in {"picture.jpg", "video.avi"} else UNSUPPORTED, filename=name)
        yield Case(f"stranger-{name}-called-mp3", data, REFUSED, filename="recording.mp3")


def misnamed(sources: Sources) -> Iterator[Case]:
    """The name says one thing, the bytes another: the bytes count."""
    for form, filename in (
        ("wav", "recording.mp3"),
        ("mp3", "recording.wav"),
        ("m4a", "recording.wav"),
        ("mp4_video", "recording.wav"),
        ("flac", "recording.ogg"),
        ("ogg", "recording.flac"),
        ("webm", "recording.txt"),
        ("mkv", "recording.html"),
        ("aac", "recording.m3u8"),
        ("flac", "list.ffconcat"),
        ("wav", "image-%03d.png"),
        ("wav", "concat:other.wav|recording.wav"),
        ("mp3", "subfile,,start,0,end,99,,:other.mp3"),
        ("mp3", "file:///etc/hostname"),
        ("ogg", "../../../../etc/cron.d/recording.ogg"),
        ("aiff", "pipe:0"),
        ("w64", "lavfi:sine"),
    ):
        yield Case(f"{form}-called-{filename.replace('/', '_')}", sources.forms[form], DONE, sources.duration_ms, filename=filename)


def polyglots(sources: Sources) -> Iterator[Case]:
    """Audio that is also something else: audio to us, and served as nothing else."""
    archive, length = zip_of(LETTER), sources.duration_ms
    forms = sources.forms
    yield Case("polyglot-mp3-and-zip", forms["mp3"] + archive, HEARD, length, 300)
    yield Case("polyglot-wav-and-html", with_chunk(forms["wav"], b"note", HTML), DONE, length)
    yield Case("polyglot-wav-and-zip", forms["wav"] + archive, DONE, length)
    yield Case("polyglot-mp4-and-script", with_free_box(forms["m4a"], b"*/alert(1)/*" * 40), DONE, length)
    yield Case("polyglot-flac-and-pdf", flac_with_padding(forms["flac"], PDF), DONE, length)
    yield Case("polyglot-mp3-and-html-tag", id3(b"TXXX", b"\0html\0" + HTML) + forms["mp3"], DONE, length)
    yield Case("polyglot-ogg-and-zip", forms["ogg"] + archive, HEARD, length)
    yield Case("polyglot-mkv-and-html", forms["mkv"] + HTML, HEARD, length)
    yield Case("polyglot-html-then-wav", HTML + forms["wav"], REFUSED)
    yield Case("polyglot-pdf-then-mp3", PDF + forms["mp3"], (*HEARD, *REFUSED), length, 300)


def zip_of(data: bytes) -> bytes:
    """An archive with one member and no date."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("member.txt"), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def png(width: int, height: int) -> bytes:
    """A black picture; 8,000 a side are 192 MB once unpacked, and 190 kB here."""
    packer = zlib.compressobj(9)
    row = bytes(1 + 3 * width)
    pixels = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in ((b"IHDR", head), (b"IDAT", pixels), (b"IEND", b"")))


def png_chunk(name: bytes, data: bytes) -> bytes:
    """Length, name, data, checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def syncsafe(value: int) -> bytes:
    """28 bits in four bytes of seven, as ID3 writes lengths."""
    return bytes(value >> shift & 0x7F for shift in (21, 14, 7, 0))


def id3(frame: bytes, data: bytes, claimed: int | None = None) -> bytes:
    """An ID3v2.4 tag of one frame, which may claim another length than it has."""
    body = frame + syncsafe(len(data) if claimed is None else claimed) + b"\0\0" + data
    return b"ID3\x04\0\0" + syncsafe(len(body) if claimed is None else claimed) + body


def with_chunk(wav: bytes, name: bytes, data: bytes) -> bytes:
    """The WAV with another chunk before its samples."""
    padded = data + bytes(len(data) % 2)
    at = wav.index(b"data")
    return wav[:at] + name + struct.pack("<I", len(data)) + padded + wav[at:]


def with_free_box(mp4: bytes, data: bytes) -> bytes:
    """The MP4 with a box of no meaning at its end."""
    return mp4 + struct.pack(">I", 8 + len(data)) + b"free" + data


def flac_with_padding(flac: bytes, data: bytes) -> bytes:
    """The FLAC with a block of padding that is not blank, after STREAMINFO."""
    return flac[:42] + b"\x01" + len(data).to_bytes(3, "big") + data + flac[42:]
