"""Valid WAV files of any size, made in a moment."""

import random
import struct
from pathlib import Path

_SAMPLE_RATE_HZ = 48_000
_CHANNELS = 8
_BLOCK_SECONDS = 1


def write_noise(path: Path, size_bytes: int) -> Path:
    """About `size_bytes` of 16-bit noise: at 48 kHz and eight channels, 512 MB are twelve minutes."""
    block = random.Random(1).randbytes(_SAMPLE_RATE_HZ * _CHANNELS * 2 * _BLOCK_SECONDS)
    blocks = max(1, size_bytes // len(block))
    with path.open("wb") as file:
        file.write(_header(blocks * len(block), _CHANNELS, _SAMPLE_RATE_HZ))
        for _ in range(blocks):
            file.write(block)
    return path


def write_silence(path: Path, seconds: float = 1.0) -> Path:
    """Silence at 16 kHz, mono."""
    size_bytes = int(seconds * 16_000) * 2
    path.write_bytes(_header(size_bytes, 1, 16_000) + bytes(size_bytes))
    return path


def _header(size_bytes: int, channels: int, sample_rate_hz: int) -> bytes:
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, sample_rate_hz, sample_rate_hz * channels * 2, channels * 2, 16)
    return struct.pack("<4sI4s", b"RIFF", 36 + size_bytes, b"WAVE") + form + struct.pack("<4sI", b"data", size_bytes)
