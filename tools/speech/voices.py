"""Speech from the synthesizers flite (English) and espeak-ng (any language)."""

import io
import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from tools.speech.audio import SAMPLE_RATE_HZ, Samples

SYNTHESIS_TIMEOUT_SECONDS = 60
SPEECH_RMS = 2_600.0
EDGE_FRAME_SAMPLES = 80
EDGE_LEVEL = 0.01
EDGE_MARGIN_SAMPLES = 320


def speak_english(voice: str, text: str) -> Samples:
    """Text in a flite voice, trimmed to the speech and levelled: (samples,) int16, 16 kHz."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        _synthesize("flite", "-voice", voice, "-t", text, "-o", str(path))
        return _presented(path.read_bytes())


def speak_spanish(text: str) -> Samples:
    """Text in espeak-ng's Spanish voice, trimmed and levelled: (samples,) int16, 16 kHz."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        _synthesize("espeak-ng", "-v", "es", "-s", "150", "-w", str(path), text)
        return _presented(path.read_bytes())


def _synthesize(*command: str) -> None:
    subprocess.run(command, check=True, timeout=SYNTHESIS_TIMEOUT_SECONDS)


def _presented(wav: bytes) -> Samples:
    return levelled(_trimmed(_read_wav(wav)))


def _read_wav(wav: bytes) -> Samples:
    with wave.open(io.BytesIO(wav)) as reader:
        rate_hz = reader.getframerate()
        samples = np.frombuffer(reader.readframes(reader.getnframes()), "<i2").astype(np.int16)
    return samples if rate_hz == SAMPLE_RATE_HZ else _resampled(samples, rate_hz)


def _resampled(samples: Samples, rate_hz: int) -> Samples:
    frame = AudioFrame.from_ndarray(samples.reshape(1, -1), "s16", "mono")
    frame.sample_rate = rate_hz
    resampler = AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
    frames = resampler.resample(frame) + resampler.resample(None)
    return np.concatenate([out.to_ndarray().reshape(-1) for out in frames]).astype(np.int16)


def _trimmed(samples: Samples) -> Samples:
    """The span louder than 1 % of the peak, with 20 ms on each side."""
    frames = len(samples) // EDGE_FRAME_SAMPLES
    shaped = np.abs(samples[: frames * EDGE_FRAME_SAMPLES].astype(np.int32))
    peaks = shaped.reshape(frames, EDGE_FRAME_SAMPLES).max(axis=1)
    loud = np.flatnonzero(peaks > EDGE_LEVEL * peaks.max()) * EDGE_FRAME_SAMPLES
    start = max(0, int(loud[0]) - EDGE_MARGIN_SAMPLES)
    return samples[start : int(loud[-1]) + EDGE_FRAME_SAMPLES + EDGE_MARGIN_SAMPLES]


def levelled(samples: Samples, rms: float = SPEECH_RMS) -> Samples:
    """The sound at a given root mean square, so that no voice is louder than another."""
    wave_form = samples.astype(np.float64)
    gain = rms / max(1.0, float(np.sqrt(np.mean(wave_form**2))))
    return np.clip(wave_form * gain, -32_768, 32_767).round().astype(np.int16)
