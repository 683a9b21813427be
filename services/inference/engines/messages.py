"""How the local engine and its processes frame what they say: eight bytes of length, a pickle."""

import pickle
import struct
from typing import Any

LENGTH = struct.Struct("!Q")


def encode(message: Any) -> bytes:
    """One message, ready to write."""
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return LENGTH.pack(len(body)) + body
