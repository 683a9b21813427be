"""The bundled recogniser reads the meeting, and each window on its own."""

import re
from itertools import pairwise
from pathlib import Path

import jiwer
import numpy as np
import pytest

from services.inference.engines.local import LocalEngine
from services.inference.models.pocketsphinx import PocketSphinxModel, load_pocketsphinx
from services.inference.pcm import cut, duration_ms
from services.inference.windows import plan_windows
from tests.inference.conftest import SAMPLES, Heard, decode

TERMS = decode(Path(__file__).parents[1] / "data" / "terms.ogg")
TERMS_TEXT = (
    "please ask siobhan to send the invoice to zurich the patient was given ibuprofen and metformin in the morning"
    " our new colleague takahashi comes from yokohama steno runs on a small server"
)
PROMPT = "Siobhan (Zurich), ibuprofen, metformin, Takahashi, Yokohama, Steno, PocketSphinx, Kowalski, KPIs"


@pytest.fixture(scope="module")
def model() -> PocketSphinxModel:
    return load_pocketsphinx()


def plain(text: str) -> str:
    return " ".join(re.sub(r"[^a-z' ]", " ", text.lower().replace("\n", " ")).split())


def test_at_most_a_tenth_of_the_meetings_words_is_wrong(model: PocketSphinxModel, meeting: Heard) -> None:
    windows = plan_windows(meeting.regions, meeting.probabilities, LocalEngine.max_window_seconds)
    text = " ".join(model.transcribe(cut(meeting.pcm, w.start_ms, w.end_ms)).text for w in windows)
    assert jiwer.wer(plain(Path(SAMPLES / "meeting.txt").read_text()), plain(text)) <= 0.10


def test_words_follow_each_other_inside_the_window(model: PocketSphinxModel, meeting: Heard) -> None:
    pcm = cut(meeting.pcm, 0, 7_500)
    result = model.transcribe(pcm)
    assert len(result.words) > 15
    assert all(0 <= word.start_ms < word.end_ms <= duration_ms(pcm) for word in result.words)
    assert all(one.end_ms <= two.start_ms for one, two in pairwise(result.words))
    assert result.text == " ".join(word.text for word in result.words)
    assert all(re.fullmatch(r"[a-z'.-]+", word.text) for word in result.words)


def test_a_window_reads_the_same_whatever_came_before(model: PocketSphinxModel, meeting: Heard) -> None:
    first, second = cut(meeting.pcm, 0, 3_000), cut(meeting.pcm, 7_500, 11_000)
    alone = model.transcribe(first)
    model.transcribe(second)
    assert model.transcribe(first) == alone


def test_what_the_recogniser_does_not_know_stays_unknown(model: PocketSphinxModel, meeting: Heard) -> None:
    result = model.transcribe(cut(meeting.pcm, 0, 3_000))
    assert (result.average_log_probability, result.no_speech_probability, result.compression_ratio) == (None, None, None)
    assert all(word.probability is not None and 0 <= word.probability <= 1 for word in result.words)


def test_a_window_without_samples_has_no_words(model: PocketSphinxModel) -> None:
    assert model.transcribe(np.zeros(0, np.int16)).words == ()


def test_a_prompt_gives_its_words_and_their_spelling(model: PocketSphinxModel) -> None:
    plain_text, prompted = model.transcribe(TERMS).text, model.transcribe(TERMS, PROMPT).text
    assert jiwer.wer(TERMS_TEXT, plain(prompted)) <= jiwer.wer(TERMS_TEXT, plain(plain_text)) - 0.06
    assert [word for word in prompted.split() if word != word.lower()] == ["Siobhan", "Zurich", "Takahashi", "Yokohama", "Steno"]
    assert "metformin" not in plain_text
    assert "ibuprofen and metformin" in prompted


def test_a_prompt_of_other_words_changes_nothing(model: PocketSphinxModel, meeting: Heard) -> None:
    window = cut(meeting.pcm, 0, 12_000)
    alone = model.transcribe(window)
    assert model.transcribe(window, "Takahashi, ibuprofen, the PocketSphinx, Zurich, xyzzy") == alone


def test_a_prompt_is_forgotten_with_its_window(model: PocketSphinxModel) -> None:
    alone = model.transcribe(TERMS)
    model.transcribe(TERMS, PROMPT)
    assert model.transcribe(TERMS) == alone
    assert model.transcribe(TERMS, "nothing to see") == alone
