"""A batch in parts gives what the whole batch gives."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from services.inference.models.whisper.log_mel import AudioTooLong
from services.inference.models.whisper.model import WhisperRequest, load_whisper
from services.inference.models.whisper.parallel import ParallelWhisper
from services.inference.models.whisper.prompts import Task
from services.inference.pcm import Pcm, cut
from tests.inference.conftest import Heard

THREADS = 2
SECONDS = 60.0


@pytest.fixture(scope="module")
def parallel(whisper_folder: Path) -> ParallelWhisper:
    """The model of random numbers."""
    return ParallelWhisper(load_whisper(whisper_folder, threads=THREADS), load_whisper(whisper_folder), THREADS)


@pytest.fixture
def windows(meeting: Heard) -> list[Pcm]:
    """Five, each of another length."""
    return [cut(meeting.pcm, second * 1000, second * 1000 + 2000 + 300 * second) for second in range(5)]


class Party:
    """Asks whether anybody waits, which the model does first, where as many ask at once as there are threads."""

    def __init__(self, threads: int) -> None:
        self._everybody = threading.Barrier(threads)
        self._asked = threading.local()

    def __call__(self) -> bool:
        if not hasattr(self._asked, "once"):
            self._asked.once = self._everybody.wait(SECONDS)
        return False


def test_parts_give_what_the_whole_gives_in_its_order(parallel: ParallelWhisper, whisper_folder: Path, windows: list[Pcm]) -> None:
    requests = [WhisperRequest(pcm, Task("en")) for pcm in windows]
    requests[3] = replace(requests[3], cancelled=lambda: True)
    whole = load_whisper(whisper_folder).transcribe_once(requests)
    assert whole[3] is None
    assert len({result.tokens for result in whole if result}) == 4
    assert parallel.transcribe_once(requests) == whole


def test_parts_are_heard_at_once(parallel: ParallelWhisper, windows: list[Pcm]) -> None:
    party = Party(THREADS)
    results = parallel.transcribe_once([WhisperRequest(pcm, Task("en"), cancelled=party) for pcm in windows])
    assert None not in results


def test_one_window_has_all_threads(parallel: ParallelWhisper, windows: list[Pcm]) -> None:
    here: set[int] = set()

    def cancelled() -> bool:
        here.add(threading.get_ident())
        return False

    (result,) = parallel.transcribe_once([WhisperRequest(windows[0], Task("en"), cancelled=cancelled)])
    assert result is not None
    assert here == {threading.get_ident()}


def test_window_that_cannot_be_heard_is_an_error_of_the_batch(parallel: ParallelWhisper, windows: list[Pcm]) -> None:
    long = windows[0].repeat(20)
    with pytest.raises(AudioTooLong):
        parallel.transcribe_once([WhisperRequest(pcm, Task("en")) for pcm in (windows[1], long)])
