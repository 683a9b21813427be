"""Spectrograms, changes of voice and times of the test Whisper's training speech."""

import numpy as np
import pytest

from tools.whisper import augment
from tools.whisper.mel import DYNAMIC_RANGE, HOP_SAMPLES, MEL_BINS, log_mel, mel_filters, mel_power
from tools.whisper.utterance import SAMPLE_RATE_HZ, Span, Speech, Waveform, levelled, stretched, trimmed

# Corners of the Slaney scale: linear up to 1 kHz, a factor of 6.4 in 27 steps above.
MELS_AT_1_KHZ = 15.0
MELS_AT_8_KHZ = MELS_AT_1_KHZ + 27 * np.log(8) / np.log(6.4)


def _tone(hz: float, seconds: float = 1.0) -> Waveform:
    times = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (0.5 * np.sin(2 * np.pi * hz * times)).astype(np.float32)


@pytest.mark.parametrize("hz", [200.0, 1_000.0, 2_500.0, 6_000.0])
def test_a_tone_peaks_in_the_bin_of_its_pitch(hz: float) -> None:
    power = mel_power(_tone(hz), mel_filters())
    mels = hz / 1_000 * MELS_AT_1_KHZ if hz <= 1_000 else MELS_AT_1_KHZ + 27 * np.log(hz / 1_000) / np.log(6.4)
    expected = mels / MELS_AT_8_KHZ * (MEL_BINS + 1) - 1
    assert np.abs(power[10:-10].argmax(axis=1) - expected).max() <= 1


def test_a_frame_covers_ten_milliseconds() -> None:
    assert mel_power(_tone(440, 2.0), mel_filters()).shape == (2 * SAMPLE_RATE_HZ // HOP_SAMPLES, MEL_BINS)


def test_features_span_whispers_range_below_their_peak() -> None:
    features = log_mel(mel_power(np.pad(_tone(440), 8_000), mel_filters()))
    assert features.shape[0] == MEL_BINS
    assert features.max() - features.min() == pytest.approx(DYNAMIC_RANGE / 4, abs=1e-6)


def test_a_stretched_spectrogram_keeps_its_pitch() -> None:
    power = mel_power(_tone(700), mel_filters())
    longer = augment.stretched(power, 1.25)
    assert len(longer) == 125
    assert longer[60].argmax() == power[50].argmax()


def test_a_shorter_vocal_tract_moves_a_tone_up() -> None:
    power = mel_power(_tone(700), mel_filters())
    assert augment.warped(power, 1.12)[50].argmax() > power[50].argmax() > augment.warped(power, 0.88)[50].argmax()


def test_noise_has_the_level_that_was_asked_for() -> None:
    power = augment.noise(np.random.default_rng(1), 2_000, 0.02)
    assert power.mean() == pytest.approx(0.02, rel=0.05)
    assert power.min() >= 0


def test_what_is_laid_over_speech_leaves_the_given_window_alone() -> None:
    power = mel_power(_tone(700), mel_filters())
    before = power.copy()
    for seed in range(20):
        augment.disturbed(np.random.default_rng(seed), power, 60)
    assert np.array_equal(power, before)


def _speech() -> Speech:
    samples = np.concatenate([np.zeros(SAMPLE_RATE_HZ, np.float32), _tone(300, 0.5), np.zeros(SAMPLE_RATE_HZ, np.float32)])
    return Speech(samples, [Span("one", 1.0, 1.2), Span("two.", 1.2, 1.5)], [Span("w", 1.0, 1.1)])


def test_words_keep_their_sound_when_silence_is_trimmed() -> None:
    speech = trimmed(_speech())
    assert len(speech.samples) / SAMPLE_RATE_HZ == pytest.approx(0.52, abs=0.001)
    assert [word.start for word in speech.words] == pytest.approx([0.01, 0.21])
    first = round(speech.words[0].start * SAMPLE_RATE_HZ)
    assert np.abs(speech.samples[: first - 1]).max() == 0 < np.abs(speech.samples[first : first + 40]).max()


def test_words_keep_their_sound_when_speech_is_stretched() -> None:
    speech = stretched(_speech(), 1.1)
    assert speech.words[1][1:] == pytest.approx((1.32, 1.65))
    start = int(np.flatnonzero(np.abs(speech.samples) > 1e-3)[0]) / SAMPLE_RATE_HZ
    assert start == pytest.approx(speech.words[0].start, abs=0.002)


def test_levelled_speech_has_one_peak() -> None:
    assert np.abs(levelled(_speech(), 0.3).samples).max() == pytest.approx(0.3)
