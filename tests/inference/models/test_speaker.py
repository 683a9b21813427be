"""Embeddings tell voices apart and do not depend on how the audio was cut."""

from typing import Any

import numpy as np
import pytest

from services.inference.models.mel_filters import mel_filters
from services.inference.models.speaker import MEL_BANDS, load_speaker_encoder, mel_power
from services.inference.pcm import cut
from tests.inference.conftest import Heard


def test_one_voice_is_more_like_itself_than_like_another(meeting: Heard, meeting_reference: dict[str, Any]) -> None:
    encoder = load_speaker_encoder()
    voices: dict[str, list[np.ndarray[Any, Any]]] = {}
    for turn in meeting_reference["turns"]:
        start_ms, end_ms = round(turn["start"] * 1000), round(turn["end"] * 1000)
        row = encoder.embed(cut(meeting.pcm, start_ms, end_ms), [(0, end_ms - start_ms)], 1.0)[0]
        voices.setdefault(turn["speaker"], []).append(row)
    same = [float(a @ b) for rows in voices.values() for i, a in enumerate(rows) for b in rows[:i]]
    names = list(voices)
    other = [float(a @ b) for i, one in enumerate(names) for two in names[:i] for a in voices[one] for b in voices[two]]
    assert min(np.mean(same), np.median(same)) > np.mean(other) + 0.2


def test_embeddings_have_length_one(meeting: Heard) -> None:
    np.testing.assert_allclose(np.linalg.norm(meeting.embeddings, axis=1), 1, atol=1e-5)


def test_a_span_sounds_the_same_alone_and_in_a_batch(meeting: Heard) -> None:
    encoder = load_speaker_encoder()
    pcm = cut(meeting.pcm, 0, 12_000)
    spans = [(at, at + 2_000) for at in range(1_000, 9_000, 500)]
    together = encoder.embed(pcm, spans, 1.0)
    alone = np.concatenate([encoder.embed(pcm, [span], 1.0) for span in spans])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_tone_lands_in_the_band_of_its_frequency() -> None:
    filters = mel_filters(MEL_BANDS).astype(np.float32)
    times = np.arange(16_000) / 16_000
    for hz in (400, 1_000, 4_000):
        mels = mel_power(np.sin(2 * np.pi * hz * times).astype(np.float32), filters)
        assert mels.shape == (101, 40)
        assert mels[50].argmax() == filters[:, round(hz / 40)].argmax()


def test_filters_are_slaneys_triangles_of_equal_area() -> None:
    areas = mel_filters(MEL_BANDS).sum(axis=1) * 40
    assert areas[15:] == pytest.approx(np.ones(25), abs=0.1)
