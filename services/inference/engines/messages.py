"""What the local engine and its processes say to each other: eight bytes of length, a pickle."""

import pickle
import struct
from dataclasses import dataclass
from typing import Any

from services.inference.models.whisper.precision import Precision

LENGTH = struct.Struct("!Q")


@dataclass(frozen=True, slots=True)
class WhisperSetup:
    """Which Whisper a process loads, and how it runs. folder: of an installed model."""

    folder: str
    precision: Precision
    beams: int
    threads: int


def encode(message: Any) -> bytes:
    """One message, ready to write."""
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return LENGTH.pack(len(body)) + body
