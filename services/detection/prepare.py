"""A recording's features into a file: `python -m services.detection.prepare PCM OUT`.

PCM: 16 kHz mono int16 little-endian without a header. OUT: .npy, (frames, FEATURE_COUNT) float16, there only when it is whole.
"""

import sys
from pathlib import Path

import numpy as np

from services.detection.features import FEATURE_COUNT, Pcm, feature_blocks, frame_count

_SAMPLE_BYTES = 2


def main() -> None:
    """Prepare what the command line names."""
    prepare(Path(sys.argv[1]), Path(sys.argv[2]))


def prepare(source: Path, target: Path) -> None:
    """Write the features piece by piece: hours of sound take a few megabytes of memory."""
    samples = source.stat().st_size // _SAMPLE_BYTES
    pcm: Pcm = np.memmap(source, "<i2", "r", shape=(samples,)) if samples else np.zeros(0, np.int16)
    part = target.with_name(f"{target.name}.part")
    header = {"descr": "<f2", "fortran_order": False, "shape": (frame_count(samples), FEATURE_COUNT)}
    with part.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in feature_blocks(pcm):
            file.write(np.asarray(block, "<f2").tobytes())
    part.rename(target)


if __name__ == "__main__":
    main()
