"""multipart/form-data as it arrives: small fields kept, the one file handed on piece by piece. Source: RFC 7578."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from services.gateway.domain import Reason, Refusal

FILE_FIELD = "file"
_PART_HEADS_BYTES = 64 * 1024
_RETRY_SECONDS = 2
_MAX_PART_HEADERS = 16
_MAX_PART_HEADER_BYTES = 16 * 1024
_MAX_FILENAME_BYTES = 4096
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_EXTENDED_FILENAME = re.compile(r"filename\*=(?:utf-8|iso-8859-1)'[^']*'([^;\s]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FormLimits:
    """How much of a form is kept beside its file; the total bounds the memory that one form takes.

    large_fields: names whose values may have max_large_field_bytes instead of max_field_bytes.
    """

    max_fields: int = 16
    max_field_bytes: int = 64 * 1024
    max_total_bytes: int = 16 * 64 * 1024
    large_fields: frozenset[str] = frozenset()
    max_large_field_bytes: int = 0

    @property
    def max_overhead_bytes(self) -> int:
        """The most bytes that a form's body has beside its file's."""
        return self.max_total_bytes + _PART_HEADS_BYTES

    def max_bytes(self, name: str) -> int:
        """The longest value of a field."""
        return self.max_large_field_bytes if name in self.large_fields else self.max_field_bytes


PLAIN_FORM = FormLimits()


class FieldMemory:
    """What the large fields of all forms in hand may take together; more forms are told to come back."""

    def __init__(self, max_bytes: int) -> None:
        self._free_bytes = max_bytes

    def take(self, size_bytes: int) -> None:
        """Hold some of it. Raises Refusal when there is no more."""
        if size_bytes > self._free_bytes:
            raise Refusal(Reason.OVERLOADED, retry_after_seconds=_RETRY_SECONDS)
        self._free_bytes -= size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Hold it no longer."""
        self._free_bytes += size_bytes


@dataclass(frozen=True, slots=True)
class FileStart:
    """The file part begins; its bytes follow."""

    filename: str


def read_boundary(content_types: list[str]) -> bytes:
    """The boundary in a request's Content-Type headers. Raises Refusal."""
    if len(content_types) != 1:
        raise Refusal(Reason.BAD_REQUEST, "Send one Content-Type header: multipart/form-data with its boundary.")
    kind, options = parse_options_header(content_types[0])
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not _BOUNDARY.fullmatch(boundary):
        raise Refusal(Reason.BAD_REQUEST, "Send the file as multipart/form-data with a boundary.")
    return boundary


class FormReader:
    """Reads one form. Feed it the body; `fields` fills up on the way, repeated names keep every value. Close it in the end."""

    def __init__(self, boundary: bytes, limits: FormLimits = PLAIN_FORM, memory: FieldMemory | None = None) -> None:
        self.fields: dict[str, list[str]] = {}
        self.limits = limits
        self._memory = memory or FieldMemory(limits.max_total_bytes)
        self._large_bytes = 0
        self._total_bytes = 0
        self._events: list[FileStart | bytes] = []
        self._parts = 0
        self._files = 0
        self._complete = False
        self._header: tuple[bytearray, bytearray] = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._field: tuple[str, bytearray] | None = None
        self._misnamed = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_begin": self._on_header_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
            max_header_count=_MAX_PART_HEADERS,
            max_header_size=_MAX_PART_HEADER_BYTES,
        )

    def feed(self, body: bytes) -> list[FileStart | bytes]:
        """What the next bytes of the body say about the file. Raises Refusal."""
        if self._complete:
            return []
        try:
            self._parser.write(body)
        except FormParserError as error:
            raise Refusal(Reason.BAD_REQUEST, "The body is not a well-formed multipart/form-data form.") from error
        events, self._events = self._events, []
        return events

    def finish(self) -> None:
        """The body ended. Raises Refusal when the form did not, or had no file."""
        if not self._complete:
            raise Refusal(Reason.NO_FILE, "The form ends before its final boundary.")
        if not self._files:
            raise _no_file()

    def close(self) -> None:
        """Forget the fields."""
        self.fields = {}
        self._memory.give_back(self._large_bytes)
        self._large_bytes = 0

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > self.limits.max_fields + 1:
            raise Refusal(Reason.BAD_REQUEST, f"A form has at most {self.limits.max_fields} fields beside its file.")
        self._headers = {}

    def _on_header_begin(self) -> None:
        self._header = bytearray(), bytearray()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _on_header_end(self) -> None:
        self._headers[bytes(self._header[0]).lower()] = bytes(self._header[1])

    def _on_headers_finished(self) -> None:
        disposition = self._headers.get(b"content-disposition", b"").decode("latin-1")
        kind, options = parse_options_header(disposition)
        if kind != b"form-data" or b"name" not in options:
            raise Refusal(Reason.BAD_REQUEST, "Every part of the form needs a name.")
        name = _text(options[b"name"][:256])
        filename = _filename(disposition, options)
        if name != FILE_FIELD:
            self._field = name, bytearray()
            self._misnamed = filename is not None and not self._files and name not in self.limits.large_fields
        elif filename is None:
            raise Refusal(Reason.NO_FILE, 'The "file" part needs a file name, or it is an ordinary field.')
        else:
            self._start_file(filename)

    def _start_file(self, filename: str) -> None:
        self._files += 1
        if self._files > 1:
            raise Refusal(Reason.BAD_REQUEST, "Send one file at a time.")
        self._field = None
        self._events.append(FileStart(filename))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._events.append(data[start:end])
            return
        name, value = self._field
        if self._misnamed and len(value) + end - start > self.limits.max_bytes(name):
            raise _no_file()
        self._hold(name, end - start)
        value.extend(data[start:end])
        if len(value) > self.limits.max_bytes(name):
            raise Refusal(Reason.BAD_REQUEST, f"A field has at most {self.limits.max_bytes(name)} bytes.", field=name[:100])

    def _hold(self, name: str, size_bytes: int) -> None:
        self._total_bytes += size_bytes
        if self._total_bytes > self.limits.max_total_bytes:
            raise Refusal(Reason.BAD_REQUEST, f"The fields of a form have at most {self.limits.max_total_bytes} bytes together.")
        if name in self.limits.large_fields:
            self._memory.take(size_bytes)
            self._large_bytes += size_bytes

    def _on_part_end(self) -> None:
        if self._field is None:
            return
        name, value = self._field
        try:
            self.fields.setdefault(name, []).append(value.decode())
        except UnicodeDecodeError as error:
            if self._misnamed:
                raise _no_file() from error
            raise Refusal(Reason.BAD_REQUEST, "The fields of a form are UTF-8 text.") from error

    def _on_end(self) -> None:
        self._complete = True


def _no_file() -> Refusal:
    """Also told of a recording under another name, which no field can be."""
    return Refusal(Reason.NO_FILE, 'Send the recording as the form\'s "file" part, with a file name.')


def _filename(disposition: str, options: Mapping[bytes, bytes]) -> str | None:
    if (plain := options.get(b"filename")) is not None:
        return _text(plain[:_MAX_FILENAME_BYTES])
    if extended := _EXTENDED_FILENAME.search(disposition):
        return _text(unquote_to_bytes(extended[1])[:_MAX_FILENAME_BYTES])
    return None


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")
