"""Media that cannot be transcribed: the contract's answer at once, and nothing left behind."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import stored_files
from tests.e2e.mesh import SAMPLES, Mesh, wait_for

MEETING = (SAMPLES / "meeting.flac").read_bytes()
PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"
LYING_WAV = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0\x01\0\0\0\x02\0\0\0\x02\0\x10\0data\xff\xff\xff\xff" + bytes(96_000)
CASES: dict[str, tuple[Callable[[], bytes], str, int, str]] = {
    "empty": (lambda: b"", "empty.mp3", 400, "EMPTY_FILE"),
    "text called mp3": (lambda: b"These are words, and no sound.\n" * 50, "notes.mp3", 415, "BAD_MIME"),
    "playlist": (PLAYLIST.encode, "list.m3u8", 415, "BAD_MIME"),
    "playlist called mp3": (PLAYLIST.encode, "list.mp3", 415, "BAD_MIME"),
    "truncated to its header": (lambda: MEETING[:60], "cut.flac", 415, "BAD_MIME"),
    "corrupt": (lambda: b"ID3\x04\0\0\0\0\0\0" + bytes(range(256)) * 40, "corrupt.mp3", 415, "BAD_MIME"),
    "a wav of one sample a second": (lambda: LYING_WAV, "lying.wav", 415, "BAD_MIME"),
}


@pytest.mark.parametrize("case", CASES)
def test_unusable_media_is_refused_at_once_and_leaves_nothing(case: str, embedded: Mesh, tmp_path: Path) -> None:
    make, name, status, code = CASES[case]
    path = tmp_path / name
    path.write_bytes(make())
    before = stored_files(embedded)
    jobs_before = embedded.client.get("/api/v1/jobs").json()
    started = time.monotonic()
    response = embedded.submit(path)
    seconds = time.monotonic() - started
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert set(response.json()) >= {"error", "code", "detail"}
    assert seconds < 5, "an answer that slow is a stall, not a busy machine"
    wait_for(lambda: stored_files(embedded) <= before, 10, "what arrived to be removed")
    assert embedded.client.get("/api/v1/jobs").json() == jobs_before


def test_file_that_breaks_off_is_transcribed_and_charged_as_far_as_it_goes(embedded: Mesh, tmp_path: Path) -> None:
    path = tmp_path / "cut.flac"
    path.write_bytes(MEETING[: len(MEETING) // 8])
    row = embedded.finished(embedded.submitted(path))
    assert row["status"] == "done"
    assert 5 < row["audio_duration_seconds"] < 20
    assert row["truncated"] is True
