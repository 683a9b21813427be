"""A history is what reached the disk."""

import json
import random
from itertools import islice
from pathlib import Path

from faults.history import read_history, recording
from faults.injector import SERVICES, schedule


def test_a_request_without_a_reply_is_kept_as_unknown(tmp_path: Path) -> None:
    with recording(tmp_path / "history") as recorder:
        recorder.asking("one", "submit", key="never answered")
        recorder.lost(recorder.asking("one", "submit", key="broken off"), "ReadError")
        recorder.answered(recorder.asking("one", "submit", key="answered"), 202, "job", {})
    history = read_history(tmp_path / "history")
    assert {call.key: call.status for call in history.calls} == {"broken off": None, "answered": 202, "never answered": None}
    assert history.accepted() == {"answered": {"job"}}


def test_the_request_is_on_disk_before_it_is_sent(tmp_path: Path) -> None:
    with recording(tmp_path / "history") as recorder:
        recorder.asking("one", "read", job_id="job")
        assert json.loads((tmp_path / "history").read_text())["job_id"] == "job"


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    with recording(tmp_path / "history") as recorder:
        recorder.answered(recorder.asking("one", "submit", key="key"), 202, "job", {})
    whole = (tmp_path / "history").read_bytes()
    (tmp_path / "history").write_bytes(whole[:-3])
    [call] = read_history(tmp_path / "history").calls
    assert (call.key, call.status) == ("key", None)


def test_the_same_seed_makes_the_same_faults() -> None:
    seed = random.randrange(1_000_000)
    first, second, other = (list(islice(schedule(number, SERVICES, 0.5), 200)) for number in (seed, seed, seed + 1))
    assert first == second != other
    assert {fault.victim for fault in first} == set(SERVICES)
    assert {fault.action for fault in first} == {"kill", "stop"}
