"""Features as storage keeps them."""

import io

import numpy as np
import numpy.typing as npt


def npy(features: npt.NDArray[np.float16]) -> bytes:
    """The bytes of their file."""
    file = io.BytesIO()
    np.save(file, features)
    return file.getvalue()
