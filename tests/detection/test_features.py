"""What the features show, and that pieces do not show in them."""

import numpy as np
import pytest

from services.detection.features import (
    FEATURE_COUNT,
    FINE_BANDS,
    FRAME_SAMPLES,
    LOW_BANDS,
    MEL_BANDS,
    SAMPLE_RATE_HZ,
    Features,
    Pcm,
    feature_blocks,
    features,
)

LOW = slice(MEL_BANDS + 2 * FINE_BANDS, MEL_BANDS + 2 * FINE_BANDS + LOW_BANDS)
STATISTICS = MEL_BANDS + 2 * FINE_BANDS + 2 * LOW_BANDS


def noise(seconds: float, level: float = 1_000.0, seed: int = 1) -> Pcm:
    """White noise, cut off at full scale."""
    wave = np.random.default_rng(seed).normal(0.0, level, round(seconds * SAMPLE_RATE_HZ))
    return np.clip(wave, -32_768, 32_767).astype(np.int16)


def statistic(rows: Features, index: int) -> Features:
    """One figure of the waveform, by its place in `waveform.statistics`."""
    return rows[:, STATISTICS + index]


def test_a_row_stands_for_every_started_frame() -> None:
    assert features(np.zeros(0, np.int16)).shape == (0, FEATURE_COUNT)
    assert features(noise(0.02)).shape == (1, FEATURE_COUNT)
    assert features(noise(1.001)).shape == (51, FEATURE_COUNT)
    assert features(noise(1.0)).dtype == np.float16


def test_rows_do_not_depend_on_where_blocks_end() -> None:
    """A minute and a half is three blocks; a cut of it is one."""
    pcm = noise(90.0)
    whole = features(pcm)
    assert len(list(feature_blocks(pcm))) == 3
    part = features(pcm[25 * SAMPLE_RATE_HZ : 35 * SAMPLE_RATE_HZ])
    np.testing.assert_allclose(whole[1_260:1_740], part[10:490], atol=0.02)


def test_values_are_finite_for_silence_and_full_scale() -> None:
    loud = np.tile(np.asarray([32_767, -32_768], np.int16), SAMPLE_RATE_HZ)
    for pcm in (np.zeros(SAMPLE_RATE_HZ, np.int16), loud):
        assert np.isfinite(features(pcm)).all()


def test_a_click_of_a_millisecond_changes_its_own_frame() -> None:
    pcm = noise(2.0, 300.0)
    clicked = pcm.copy()
    clicked[50 * FRAME_SAMPLES + 100 : 50 * FRAME_SAMPLES + 116] = 20_000
    change = features(clicked).astype(np.float32) - features(pcm).astype(np.float32)
    assert int(np.abs(statistic(change.astype(np.float16), 9)).argmax()) == 50
    assert change[50, MEL_BANDS : MEL_BANDS + FINE_BANDS].max() > 2.0


def test_a_click_stands_alone_among_pulses() -> None:
    """A hundred pulses a second, as a low voice has them, and a stronger one between two."""
    pulses = noise(2.0, 20.0)
    pulses[::160] += 8_000
    clicked = pulses.copy()
    clicked[50 * FRAME_SAMPLES + 70] += 20_000
    assert statistic(features(pulses), 12).max() < 0.3
    assert int(statistic(features(clicked), 12).argmax()) == 50
    assert statistic(features(clicked), 12)[50] > 0.5


def test_hum_fills_the_bands_it_lies_in() -> None:
    times = np.arange(2 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    for hz, band in ((50.0, 1), (60.0, 2), (100.0, 5), (150.0, 8)):
        hum = np.asarray(300 * np.sin(2 * np.pi * hz * times), np.int16)
        change = features(noise(2.0, 100.0) + hum)[20:80, LOW].mean(axis=0) - features(noise(2.0, 100.0))[20:80, LOW].mean(axis=0)
        assert int(change.argmax()) == band


def test_only_steady_sound_stays_in_the_steady_bands() -> None:
    """The same tone, whole, and with a gap of 200 ms in every 400 ms."""
    times = np.arange(2 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    tone = 1_000 * np.sin(2 * np.pi * 60 * times)
    broken = np.asarray(tone * (times % 0.4 < 0.2), np.int16)
    steady = [features(pcm)[20:80, LOW.stop + 2].astype(np.float32).mean() for pcm in (np.asarray(tone, np.int16), broken)]
    assert steady[0] > steady[1] + 2


@pytest.mark.parametrize(("index", "mark"), [(6, "near zero"), (7, "run near zero"), (8, "run of equals")])
def test_a_hole_shows_in(index: int, mark: str) -> None:
    pcm = noise(2.0)
    pcm[40 * FRAME_SAMPLES : 44 * FRAME_SAMPLES] = 0
    column = statistic(features(pcm), index)
    assert column[40:44].min() > 0.99, mark
    assert column[:40].max() < 0.1, mark


def test_flat_tops_show_at_any_level() -> None:
    pcm = np.clip(noise(2.0, 4_000.0), -3_000, 3_000)
    assert statistic(features(pcm), 13).min() > 10 * statistic(features(noise(2.0)), 13).max()
    assert statistic(features(pcm), 5).min() > 5 * statistic(features(noise(2.0)), 5).max()
    assert statistic(features(noise(2.0, 30_000.0)), 4).min() > 0.1
