"""multipart/form-data as it arrives: small fields first, then the one file piece by piece. Source: RFC 7578."""

import re
from collections.abc import Mapping

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from services.mesh.errors import InvalidField
from services.storage.domain import UploadIncomplete

MAX_FIELDS = 20
MAX_FIELD_BYTES = 8 * 1024
MAX_HEAD_BYTES = 64 * 1024
_FILE = "file"
_MAX_PART_HEADERS = 8
_MAX_PART_HEADER_BYTES = 4 * 1024
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")


def read_boundary(headers: Mapping[bytes, str]) -> bytes:
    """The boundary in a request's Content-Type. Raises InvalidField."""
    kind, options = parse_options_header(headers.get(b"content-type", ""))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or _BOUNDARY.fullmatch(boundary) is None:
        raise InvalidField("Send the form as multipart/form-data with a boundary.", field="content-type")
    return boundary


class FormReader:
    """Reads one form. Feed it the body; `fields`, by lower-case name, are whole once the file has begun."""

    def __init__(self, boundary: bytes) -> None:
        self.fields: dict[str, str] = {}
        self.in_file = False
        self._complete = False
        self._head_bytes = 0
        self._pieces: list[bytes] = []
        self._name, self._value = "", bytearray()
        self._header: tuple[bytearray, bytearray] = bytearray(), bytearray()
        self._disposition = b""
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

    def feed(self, body: bytes) -> list[bytes]:
        """The pieces of the file in the next bytes of the body; what follows the form's end is dropped. Raises InvalidField."""
        if self._complete:
            return []
        if not self.in_file:
            self._head_bytes += len(body)
        try:
            self._parser.write(body)
        except FormParserError as error:
            raise _refused("The body is not a well-formed multipart/form-data form.") from error
        if not self.in_file and self._head_bytes > MAX_HEAD_BYTES:
            raise _refused(f"The fields of a form have at most {MAX_HEAD_BYTES} bytes together.")
        pieces, self._pieces = self._pieces, []
        return pieces

    def finish(self) -> None:
        """The body ended. Raises UploadIncomplete when the form did not, InvalidField when it had no file."""
        if not self._complete:
            raise UploadIncomplete
        if not self.in_file:
            raise _refused('The form has no "file".')

    def _on_part_begin(self) -> None:
        if self.in_file:
            raise _refused("The file is the last part of the form.")
        if len(self.fields) >= MAX_FIELDS:
            raise _refused(f"A form has at most {MAX_FIELDS} fields beside its file.")
        self._disposition, self._value = b"", bytearray()

    def _on_header_begin(self) -> None:
        self._header = bytearray(), bytearray()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _on_header_end(self) -> None:
        if self._header[0].lower() == b"content-disposition":
            self._disposition = bytes(self._header[1])

    def _on_headers_finished(self) -> None:
        kind, options = parse_options_header(self._disposition.decode("latin-1"))
        self._name = options.get(b"name", b"").decode("latin-1").lower()
        if kind != b"form-data" or not self._name or self._name in self.fields:
            raise _refused("Every part of the form has a name of its own.")
        self.in_file = self._name == _FILE

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self.in_file:
            self._pieces.append(data[start:end])
            return
        self._value.extend(data[start:end])
        if len(self._value) > MAX_FIELD_BYTES:
            raise _refused(f"A field of the form has at most {MAX_FIELD_BYTES} bytes.")

    def _on_part_end(self) -> None:
        if self.in_file:
            return
        try:
            self.fields[self._name] = self._value.decode()
        except UnicodeDecodeError as error:
            raise _refused("The fields of a form are UTF-8 text.") from error

    def _on_end(self) -> None:
        self._complete = True


def _refused(sentence: str) -> InvalidField:
    return InvalidField(sentence, field="form")
