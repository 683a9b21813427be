"""Sounds nobody speaks in: music and noise, the same on every run."""

import numpy as np
from numpy.typing import NDArray

from tools.speech.audio import SAMPLE_RATE_HZ, Samples
from tools.speech.voices import levelled

NOISE_RMS = 1_500.0
NOISE_LOWEST_HZ = 20.0
MUSIC_RMS = 2_600.0
NOTE_SECONDS = 0.25
NOTES_PER_CHORD = 8
NOTE_DECAY_SECONDS = 0.35
# The chords of C, A minor, F and G; MIDI note numbers, bass first.
CHORDS = ((60, 72, 76, 79), (57, 69, 72, 76), (53, 69, 72, 77), (55, 67, 71, 74))
# Broken chord: which of the four notes sounds at each step.
PATTERN = (0, 1, 2, 3, 2, 1, 2, 3)


def pink_noise(seconds: float, seed: int) -> Samples:
    """Noise whose power falls by 3 dB per octave: (samples,) int16, 16 kHz."""
    length = round(seconds * SAMPLE_RATE_HZ)
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=length))
    frequencies = np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ)
    shaped = np.fft.irfft(spectrum / np.sqrt(np.maximum(frequencies, NOISE_LOWEST_HZ)), length)
    return levelled(_as_samples(shaped), NOISE_RMS)


def arpeggio() -> Samples:
    """Eight seconds of four broken chords over a held bass: (samples,) int16, 16 kHz."""
    length = round(len(CHORDS) * NOTES_PER_CHORD * NOTE_SECONDS * SAMPLE_RATE_HZ)
    music = np.zeros(length)
    for bar, chord in enumerate(CHORDS):
        for step, voice in enumerate(PATTERN):
            _play(music, chord[voice], (bar * NOTES_PER_CHORD + step) * NOTE_SECONDS)
    return levelled(_as_samples(music), MUSIC_RMS)


def _play(music: NDArray[np.float64], note: int, start_seconds: float) -> None:
    """Add a plucked note, which rings on under those that follow."""
    start = round(start_seconds * SAMPLE_RATE_HZ)
    time = np.arange(len(music) - start) / SAMPLE_RATE_HZ
    pitch_hz = 440.0 * 2 ** ((note - 69) / 12)
    partials = [np.sin(2 * np.pi * pitch_hz * n * time) / n**1.5 for n in (1, 2, 3, 4)]
    envelope = np.minimum(1.0, time / 0.005) * np.exp(-time / NOTE_DECAY_SECONDS)
    music[start:] += envelope * np.sum(partials, axis=0)


def _as_samples(sound: NDArray[np.float64]) -> Samples:
    scaled: Samples = (sound / np.abs(sound).max() * 32_000).round().astype(np.int16)
    return scaled
