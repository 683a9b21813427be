"""Sending a recording in three steps: announced, posted with the fields of its form, confirmed."""

from pathlib import Path

import httpx2

from services.client.api import CONNECT_SECONDS, Api, Row
from services.client.failures import Refused
from services.client.retrying import retried
from services.client.submission import OnBytes, Recording
from services.datasets_cli.recordings import content_type_of, sent_name

_WRITE_SECONDS = 60.0
# The answer comes after the server has stored and examined the file.
_ANSWER_SECONDS = 180.0


def announce(api: Api, files_path: str, path: Path, size_bytes: int) -> Row:
    """Where the bytes go, and under which id. Raises CommandFailed."""
    body = {"filename": sent_name(path), "content_type": content_type_of(path), "file_size": size_bytes}
    answer: Row = retried(lambda: api.post(f"{files_path}/upload-url", body))
    return answer


def send(api: Api, announced: Row, path: Path, size_bytes: int, on_bytes: OnBytes) -> None:
    """Post the bytes; once more where the connection breaks. Raises Refused or Unreachable."""
    recording = Recording(path.name, path, size_bytes)
    retried(lambda: _post(api, announced, recording, on_bytes))


def confirm(api: Api, files_path: str, field: str, file_id: str) -> Row:
    """Tell that the bytes are there; what became of them. field: the name that the id has there. Raises Refused or Unreachable."""
    answer: Row = retried(lambda: api.post(f"{files_path}/confirm", {field: file_id}))
    return answer


def upload(api: Api, files_path: str, field: str, path: Path, size_bytes: int, on_bytes: OnBytes) -> str:
    """All three steps; the file's id. Raises CommandFailed, naming the file."""
    try:
        announced = announce(api, files_path, path, size_bytes)
        send(api, announced, path, size_bytes, on_bytes)
        file_id = str(announced[field])
        confirm(api, files_path, field, file_id)
    except Refused as error:
        raise Refused(f"{path}: {error}", "", error.status) from error
    return file_id


def _post(api: Api, announced: Row, recording: Recording, on_bytes: OnBytes) -> None:
    timeout = httpx2.Timeout(_ANSWER_SECONDS, connect=CONNECT_SECONDS, write=_WRITE_SECONDS)
    with recording.open(on_bytes) as body:
        api.post_form(str(announced["upload_url"]), announced["fields"], recording.name, body, timeout)
