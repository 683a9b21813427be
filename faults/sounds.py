"""Recordings short enough that hundreds are transcribed while processes die."""

import wave
from dataclasses import dataclass
from pathlib import Path

import av

from tests.e2e.mesh import SAMPLES

SAMPLE_RATE_HZ = 16_000
_SPEECH = SAMPLES / "clips" / "hello.flac"
_SPEECH_SECONDS = 1.6
_SILENCE_SECONDS = 1.2
_TWO_BYTES = 2


@dataclass(frozen=True)
class Sounds:
    """WAV files. speech: words in it, which are charged. silence: none. longer: several seconds of speech."""

    speech: Path
    silence: Path
    longer: Path


def make_sounds(folder: Path) -> Sounds:
    """The recordings, in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = _decode(_SPEECH)
    return Sounds(
        _write(folder / "speech.wav", samples[: _bytes(_SPEECH_SECONDS)]),
        _write(folder / "silence.wav", bytes(_bytes(_SILENCE_SECONDS))),
        _write(folder / "longer.wav", samples * 3),
    )


def _bytes(seconds: float) -> int:
    return int(seconds * SAMPLE_RATE_HZ) * _TWO_BYTES


def _decode(path: Path) -> bytes:
    """16 kHz, mono, 16 bit."""
    resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE_HZ)
    with av.open(str(path)) as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    return b"".join(frame.to_ndarray().tobytes() for frame in [*frames, *resampler.resample(None)])


def _write(path: Path, samples: bytes) -> Path:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(_TWO_BYTES)
        sound.setframerate(SAMPLE_RATE_HZ)
        sound.writeframes(samples)
    return path
