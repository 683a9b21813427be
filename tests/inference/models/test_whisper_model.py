"""A window's transcript depends on the window alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.inference.models.whisper.architecture import UnsupportedModel
from services.inference.models.whisper.log_mel import AudioTooLong
from services.inference.models.whisper.model import UnknownLanguage, WhisperModel, WhisperRequest, WhisperSettings, load_whisper
from services.inference.models.whisper.precision import Precision
from services.inference.models.whisper.prompts import Task
from services.inference.models.whisper.quality import Thresholds
from services.inference.pcm import cut
from services.inference.transcript import Verdict
from tests.inference.conftest import Heard

Open = Callable[[Precision], WhisperModel]


@pytest.fixture
def requests(meeting: Heard) -> list[WhisperRequest]:
    """Windows of 1 to 12 s with all kinds of wishes."""
    tasks = [
        Task(None),
        Task("en", text="as we said"),
        Task("es", translate=True, timestamps=True),
        Task(None, timestamps=True, hotwords="Ada"),
        Task("de"),
    ]
    spans = [(0, 12_000), (12_000, 16_000), (20_000, 27_321), (30_000, 31_000), (40_000, 50_000)]
    return [WhisperRequest(cut(meeting.pcm, *span), task) for span, task in zip(spans, tasks, strict=True)]


@pytest.mark.parametrize("precision", list(Precision))
def test_company_in_the_batch_changes_nothing(precision: Precision, open_whisper: Open, requests: list[WhisperRequest]) -> None:
    model = open_whisper(precision)
    together = model.transcribe(requests)
    alone = [model.transcribe([request])[0] for request in requests]
    backwards = model.transcribe(requests[::-1])[::-1]
    for one, two, three in zip(together, alone, backwards, strict=True):
        assert one.tokens == two.tokens == three.tokens
        assert one.window.language == two.window.language
        assert [word.text for word in one.window.words] == [word.text for word in two.window.words]


def test_words_lie_in_order_inside_the_window(open_whisper: Open, requests: list[WhisperRequest], meeting: Heard) -> None:
    results = open_whisper(Precision.FP32).transcribe(requests)
    assert any(result.window.words for result in results)
    for request, result in zip(requests, results, strict=True):
        times = [time for word in result.window.words for time in (word.start_ms, word.end_ms)]
        assert times == sorted(times)
        assert all(0 <= time <= len(request.pcm) / 16 for time in times)


def test_same_seed_same_text_at_any_temperature(open_whisper: Open, requests: list[WhisperRequest]) -> None:
    hot = [replace(request, temperature=1.0) for request in requests]
    model = open_whisper(Precision.FP32)
    first, second = model.transcribe(hot), [model.transcribe([request])[0] for request in hot]
    assert [result.tokens for result in first] == [result.tokens for result in second]
    assert [result.tokens for result in first] != [result.tokens for result in model.transcribe(requests)]


def test_only_what_cannot_be_believed_is_tried_at_other_temperatures(whisper_folder: Path, requests: list[WhisperRequest]) -> None:
    strict = load_whisper(whisper_folder, settings=WhisperSettings(Thresholds(lowest_log_probability=0.0, highest_compression_ratio=99.0)))
    silent = Thresholds(lowest_log_probability=0.0, highest_no_speech_probability=-1.0)
    sure = load_whisper(whisper_folder, settings=WhisperSettings(silent))
    best = strict.transcribe(requests[:2])
    assert {result.verdict for result in best} == {Verdict.DOUBTFUL}
    assert any(result.window.temperature for result in best)
    assert {result.window.temperature for result in sure.transcribe(requests[:2])} == {0.0}


def test_loops_and_silence_leave_no_text(whisper_folder: Path, requests: list[WhisperRequest]) -> None:
    looping = load_whisper(
        whisper_folder, settings=WhisperSettings(Thresholds(highest_compression_ratio=-1.0, lowest_log_probability=-99.0))
    )
    silent = load_whisper(
        whisper_folder, settings=WhisperSettings(Thresholds(lowest_log_probability=0.0, highest_no_speech_probability=-1.0))
    )
    for model, verdict in ((looping, Verdict.REPETITIVE), (silent, Verdict.SILENT)):
        (result,) = model.transcribe(requests[1:2])
        assert (result.verdict, result.window.text, result.window.words) == (verdict, "", ())
        assert result.tokens


def test_a_search_is_as_good_alone_as_in_a_batch_and_better_than_greed(whisper_folder: Path, requests: list[WhisperRequest]) -> None:
    lenient = Thresholds(lowest_log_probability=-99.0, highest_compression_ratio=99.0)
    greedy, searching = (load_whisper(whisper_folder, settings=WhisperSettings(lenient, beams)) for beams in (1, 4))
    together, alone = searching.transcribe(requests), [searching.transcribe([request])[0] for request in requests]
    assert [result.tokens for result in together] == [result.tokens for result in alone]

    def mean(model: WhisperModel) -> float:
        return float(np.mean([result.window.average_log_probability for result in model.transcribe(requests)]))

    assert mean(searching) > mean(greedy)


def test_unknown_languages_and_long_audio_are_refused(open_whisper: Open) -> None:
    model = open_whisper(Precision.FP32)
    with pytest.raises(UnknownLanguage):
        model.transcribe([WhisperRequest(np.zeros(16_000, np.int16), Task("xx"))])
    with pytest.raises(AudioTooLong):
        model.transcribe([WhisperRequest(np.zeros(31 * 16_000, np.int16), Task("en"))])
    assert model.transcribe([]) == []


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel):
        load_whisper(tmp_path)


def test_one_try_is_the_first_rung_of_the_ladder(whisper_folder: Path, requests: list[WhisperRequest]) -> None:
    strict = load_whisper(whisper_folder, settings=WhisperSettings(Thresholds(lowest_log_probability=0.0, highest_compression_ratio=99.0)))
    once = [result for result in strict.transcribe_once(requests) if result]
    hot = [replace(request, temperature=1.0) for request in requests]
    assert strict.transcribe_once(hot) == strict.transcribe(hot)
    assert {(result.window.temperature, result.verdict) for result in once} == {(0.0, Verdict.DOUBTFUL)}


@pytest.mark.parametrize("beams", [1, 3])
def test_cancelled_rows_leave_the_batch_and_change_nothing(beams: int, whisper_folder: Path, requests: list[WhisperRequest]) -> None:
    model = load_whisper(whisper_folder, settings=WhisperSettings(beams=beams))
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    results = model.transcribe_once([replace(requests[0], cancelled=cancelled), *requests[1:]])
    assert results[0] is None
    assert asked == 4
    assert results[1:] == model.transcribe_once(requests)[1:]
    assert model.transcribe_once([replace(request, cancelled=lambda: True) for request in requests]) == [None] * len(requests)
