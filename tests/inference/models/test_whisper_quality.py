"""What cannot be believed is tried again, and silence is not."""

from dataclasses import replace

import pytest

from services.inference.models.whisper.decoding import Decoded
from services.inference.models.whisper.quality import Thresholds, compression_ratio
from services.inference.models.whisper.temperatures import next_temperature
from services.inference.transcript import Verdict


def decoded(average: float, no_speech: float) -> Decoded:
    return Decoded([1, 2, 3], [average] * 4, no_speech, ended=True)


@pytest.mark.parametrize(
    ("average", "no_speech", "text", "verdict"),
    [
        (-0.3, 0.1, "a plain sentence", Verdict.ACCEPTED),
        (-1.1, 0.1, "a plain sentence", Verdict.DOUBTFUL),
        (-0.3, 0.1, "again and " * 30, Verdict.REPETITIVE),
        (-1.1, 0.7, "again and " * 30, Verdict.SILENT),
        (-0.3, 0.7, "a plain sentence", Verdict.ACCEPTED),
        (-0.6, 0.7, "a plain sentence", Verdict.ACCEPTED),
        (-0.6, 0.96, "a plain sentence", Verdict.SILENT),
        (-0.01, 0.7, "", Verdict.SILENT),
        (-0.01, 0.2, "", Verdict.ACCEPTED),
    ],
)
def test_verdicts(average: float, no_speech: float, text: str, verdict: Verdict) -> None:
    assert Thresholds().judge(decoded(average, no_speech), text) is verdict


def test_fluent_words_over_what_may_be_silence_stay() -> None:
    assert Thresholds().judge(decoded(-0.3, 0.99), "a quiet sentence") is Verdict.ACCEPTED
    wary = Thresholds(lowest_fluent_log_probability=-0.2)
    assert wary.judge(decoded(-0.3, 0.99), "a quiet sentence") is Verdict.SILENT


def test_text_that_was_cut_off_is_doubtful() -> None:
    cut_off = replace(decoded(-0.3, 0.1), ended=False)
    assert Thresholds().judge(cut_off, "a plain sentence that") is Verdict.DOUBTFUL
    assert Thresholds().judge(cut_off, "again and " * 30) is Verdict.REPETITIVE


def test_loops_compress_and_speech_does_not() -> None:
    assert compression_ratio("and then, " * 40) > 5
    assert compression_ratio("The committee met on Tuesday to discuss the budget for the coming year.") < 1.5
    assert compression_ratio("") < 1


def test_ladder_has_six_rungs_and_ends_at_one() -> None:
    rungs, temperature = [0.0], next_temperature(0.0)
    while temperature is not None:
        rungs.append(temperature)
        temperature = next_temperature(temperature)
    assert rungs == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
