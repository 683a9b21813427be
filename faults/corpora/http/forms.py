"""multipart/form-data: cut off, ambiguous, endless, and with names and values that nobody wants."""

from collections.abc import Iterator, Mapping

from faults.corpora.http.vector import Target, Vector, chunk, head, once, whole

FILE = 'name="file"; filename="talk.wav"'
_POST = "POST /api/v1/transcribe"
_FORM = "Content-Type: multipart/form-data; boundary=b"
_BAD = (400, "BAD_REQUEST")
_NONE = (400, "NO_FILE")
CONTENT_TYPES = {
    "no_boundary": "multipart/form-data",
    "empty_boundary": "multipart/form-data; boundary=",
    "boundary_of_71": "multipart/form-data; boundary=" + "x" * 71,
    "boundary_of_5000": "multipart/form-data; boundary=" + "x" * 5000,
    "boundary_with_a_quote": 'multipart/form-data; boundary="a\\"b"',
    "boundary_that_ends_in_a_space": 'multipart/form-data; boundary="b "',
    "json": "application/json",
    "urlencoded": "application/x-www-form-urlencoded",
    "mixed": "multipart/mixed; boundary=b",
    "empty_type": "",
}
# What a name becomes: its last part, without what cannot be seen.
FILENAMES = {
    "../../etc/passwd": "passwd",
    "..\\..\\x.wav": "x.wav",
    "/etc/shadow": "shadow",
    "C:\\x.mp3": "x.mp3",
    "": "upload",
    ".": "upload",
    "..": "upload",
    "con.mp3": "con.mp3",
    "<script>alert(1)</script>.wav": "script>.wav",
    "e\u0301\u202e.mp3": "é.mp3",
    "a\u200bb\u2066.wav": "ab.wav",
    "x" * 10_000: "x" * 255,
    "%2e%2e%2fpasswd": "%2e%2e%2fpasswd",
    "a" + "\u0301" * 300: None,
    "🎤.wav": "🎤.wav",
    "a;b=c.wav": "a;b=c.wav",
    "\t.wav": ".wav",
}


def part(disposition: str, content: bytes) -> bytes:
    """One part with the boundary "b"."""
    return b"--b\r\nContent-Disposition: form-data; " + disposition.encode() + b"\r\n\r\n" + content + b"\r\n"


def form(*parts: tuple[str, bytes], closed: bool = True) -> bytes:
    """(rest of the Content-Disposition line, content) pairs as a body."""
    return b"".join(part(*pair) for pair in parts) + (b"--b--\r\n" if closed else b"")


def cuts(sound: bytes) -> Mapping[str, int]:
    """Places at which a form can break off."""
    return {
        "before_anything": 0,
        "in_first_boundary": 3,
        "in_part_header": 30,
        "in_file": 500,
        "before_final_boundary": len(sound) - 7,
        "in_final_boundary": len(sound) - 4,
    }


def bad_forms(audio: bytes) -> Mapping[str, tuple[bytes, str]]:
    """Bodies, and the codes that they are refused with."""
    return {
        "file_as_plain_field": (form(('name="file"', audio)), "NO_FILE"),
        "no_file": (form(('name="language"', b"en")), "NO_FILE"),
        "file_under_other_name": (form(('name="audio"; filename="a.wav"', b"RIFF\xff\xfe")), "NO_FILE"),
        "large_file_under_other_name": (form(('name="audio"; filename="a.wav"', b"x" * 65_537)), "NO_FILE"),
        "other_file_after_the_file": (form((FILE, audio), ('name="cover"; filename="a.png"', b"\xff\xfe")), "BAD_REQUEST"),
        "no_part": (b"--b--\r\n", "NO_FILE"),
        "other_boundary": (b"--c\r\n\r\nx\r\n--c--\r\n", "BAD_REQUEST"),
        "two_files": (form((FILE, audio), (FILE, audio)), "BAD_REQUEST"),
        "part_without_name": (form(('filename="a"', audio)), "BAD_REQUEST"),
        "part_without_disposition": (b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n", "BAD_REQUEST"),
        "17_fields": (form(*((f'name="f{number}"', b"x") for number in range(17)), (FILE, audio)), "BAD_REQUEST"),
        "1001_fields": (form((FILE, audio), *((f'name="f{number}"', b"x") for number in range(1001))), "BAD_REQUEST"),
        "1001_files": (form(*((f'name="f{number}"; filename="a"', b"x") for number in range(1001))), "BAD_REQUEST"),
        "large_field": (form(('name="prompt"', b"x" * 65_537), (FILE, audio)), "BAD_REQUEST"),
        "large_part_header": (form((f'name="{"x" * 100_000}"', b"x")), "BAD_REQUEST"),
        "20000_part_headers": (b"--b\r\n" + b"X: y\r\n" * 20_000 + b"\r\nx\r\n--b--\r\n", "BAD_REQUEST"),
        "field_not_utf8": (form(('name="prompt"', b"\xff\xfe"), (FILE, audio)), "BAD_REQUEST"),
        "line_feeds_only": (form((FILE, audio)).replace(b"\r\n", b"\n"), "BAD_REQUEST"),
    }


def fields() -> Mapping[str, tuple[str, bytes, int, str]]:
    """A field's name and value, and how they are refused."""
    return {
        "language_unknown_word": ("language", b"english", 422, "BAD_LANGUAGE"),
        "language_with_nul": ("language", b"en\0", 422, "BAD_LANGUAGE"),
        "language_of_10_kb": ("language", b"e" * 10_000, 422, "BAD_LANGUAGE"),
        "language_in_capitals": ("language", b"EN", 422, "BAD_LANGUAGE"),
        "language_with_region": ("language", b"en-US", 422, "BAD_LANGUAGE"),
        "language_of_sql": ("language", b"en' OR 1=1 --", 422, "BAD_LANGUAGE"),
        "language_in_other_letters": ("language", "еn".encode(), 422, "BAD_LANGUAGE"),
        "diarize_maybe": ("diarize", b"maybe", 422, "BAD_FIELD"),
        "diarize_empty": ("diarize", b"", 422, "BAD_FIELD"),
        "word_timestamps_2": ("word_timestamps", b"2", 422, "BAD_FIELD"),
        "source_unknown": ("source", b"foo", 422, "BAD_SOURCE"),
        "prompt_of_5_kb": ("prompt", b"x" * 5000, 422, "BAD_FIELD"),
        "prompt_with_nul": ("prompt", b"a\0b", 422, "BAD_FIELD"),
        "prompt_of_1_mb": ("prompt", b"x" * 2**20, 400, "BAD_REQUEST"),
        "speaker_count_zero": ("speaker_count", b"0", 422, "BAD_FIELD"),
        "speaker_count_in_other_digits": ("speaker_count", "٣".encode(), 422, "BAD_FIELD"),
        "speaker_count_of_5000_digits": ("speaker_count", b"9" * 5000, 422, "BAD_FIELD"),
        "speaker_count_negative": ("speaker_count", b"-1", 422, "BAD_FIELD"),
    }


def form_vectors(target: Target) -> Iterator[Vector]:
    """Every form, as the owner of the key sends it."""
    key, sound = f"X-API-Key: {target.key}", form((FILE, target.audio))
    for name, length in cuts(sound).items():
        yield once(f"form_cut_{name}", whole(_POST, sound[:length], key, _FORM), *_NONE)
    for name, kind in CONTENT_TYPES.items():
        yield once(f"form_as_{name}", whole(_POST, sound, key, f"Content-Type: {kind}"), *_BAD)
    yield once("form_without_a_type", whole(_POST, sound, key), *_BAD)
    yield once("form_with_two_types", whole(_POST, sound, key, _FORM, _FORM), *_BAD)
    for name, (body, code) in bad_forms(target.audio).items():
        yield once(f"form_with_{name}", whole(_POST, body, key, _FORM), 400, code)
    for name, (field, value, status, code) in fields().items():
        yield once(f"form_with_{name}", whole(_POST, form((f'name="{field}"', value), (FILE, target.audio)), key, _FORM), status, code)
    yield from _large(target, key)
    yield from _repeated(target, key)
    yield from _accepted(target, key)


def _large(target: Target, key: str) -> Iterator[Vector]:
    """More than any form holds, far below what a file may."""
    chunked = head(_POST, key, _FORM, "Transfer-Encoding: chunked")
    files = part('name="f"; filename="a"', bytes(2**20))
    yield Vector("form_of_60_files_of_1_mib", [(chunked, 1), (chunk(files), 60)], *_NONE)
    small = part('name="f"', b"x") * 100
    yield Vector("form_of_10000_fields", [(chunked, 1), (chunk(small), 100)], *_BAD)
    piece = (chunk(b"x" * 65_536), 200)
    yield Vector("form_with_an_endless_part_header", [(chunked, 1), (chunk(b"--b\r\nX: "), 1), piece], *_BAD)
    yield Vector("form_with_an_endless_preamble", [(chunked, 1), piece], *_BAD)


def _repeated(target: Target, key: str) -> Iterator[Vector]:
    for field, code in (("language", "BAD_FIELD"), ("diarize", "BAD_FIELD"), ("source", "BAD_FIELD")):
        twice = form((f'name="{field}"', b"en"), (f'name="{field}"', b"en"), (FILE, target.audio))
        yield once(f"form_with_{field}_twice", whole(_POST, twice, key, _FORM), 422, code)


def _accepted(target: Target, key: str) -> Iterator[Vector]:
    """Odd and sound: a job comes of each, and of what was sent beside it nothing."""
    for number, (sent, kept) in enumerate(FILENAMES.items()):
        quoted = sent.replace("\\", "\\\\").replace('"', '\\"')
        body = form((f'name="file"; filename="{quoted}"', target.audio))
        made = {} if kept is None else {"filename": kept}
        yield once(f"filename_{number}", whole(_POST, body, key, _FORM), 202, told=made)
    sound = form((FILE, target.audio))
    raw = sound.replace(b"talk.wav", b"\xff\xfe.wav")
    yield once("filename_not_utf8", whole(_POST, raw, key, _FORM), 202)
    extended = sound.replace(b'filename="talk.wav"', b"filename*=UTF-8''%e2%82%ac%2f..%2fa.wav")
    yield once("filename_extended", whole(_POST, extended, key, _FORM), 202, told={"filename": "a.wav"})
    yield once("charset_of_form", whole(_POST, sound, key, "Content-Type: multipart/form-data; charset=utf-16; boundary=b"), 202)
    for charset in ("utf-16", "idna", "rot13", "nul"):
        body = form((f'name="language"\r\nContent-Type: text/plain; charset={charset}', b"en"), (FILE, target.audio))
        yield once(f"charset_{charset}_of_part", whole(_POST, body, key, _FORM), 202, told={"language": "en"})
    extras = [(f'name="{name}"', b"1") for name in ("tenant_id", "workspace_id", "price", "billed_seconds", "status", "job_id", "tier")]
    yield once("fields_of_the_row", whole(_POST, form(*extras, (FILE, target.audio)), key, _FORM), 202, told={"billed_seconds": 0})
    tokens = form(('name="prompt"', b"<|endoftext|><|0.00|>"), (FILE, target.audio))
    yield once("special_tokens_in_prompt", whole(_POST, tokens, key, _FORM), 202)
    yield once("preamble_and_epilogue", whole(_POST, sound + b"x" * 5000, key, _FORM), 202)
    yield once("boundary_in_quotes", whole(_POST, sound, key, 'Content-Type: multipart/form-data; boundary="b"'), 202)
