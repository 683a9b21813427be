"""Recordings with clicks, dropouts, hum, clipping and long pauses: `python -m tools.detection.generate FOLDER`.

Writes `recording-NNN.wav` and, beside each, what is wrong with it: `recording-NNN.txt`, an Audacity label file
(start and end in seconds, the type, tabs between).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from tools.detection.carriers import TRAINING_VOICES, sentences
from tools.detection.recording import TRUE_PITCH, VARIED_PITCH, Label, Recording, record
from tools.speech.audio import write_audio


def main() -> None:
    """Write what the command line orders."""
    parser = argparse.ArgumentParser(prog="python -m tools.detection.generate", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=10, help="recordings to write")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each")
    parser.add_argument("--seed", type=int, default=1, help="other seeds give other recordings")
    parser.add_argument("--varied", action="store_true", help="each sentence at a pitch of its own, so that few voices sound like many")
    parser.add_argument("--voices", default=",".join(TRAINING_VOICES), metavar="NAMES", help="of awb, rms, slt")
    arguments = parser.parse_args()
    write(arguments.folder, recordings(arguments.voices.split(","), arguments.files, arguments.seconds, arguments.seed, arguments.varied))


def recordings(voices: Sequence[str], files: int, seconds: float, seed: int, varied: bool = False) -> list[Recording]:
    """Recordings of some voices, each with a seed of its own, derived from `seed`."""
    carriers, pitch = sentences(voices), VARIED_PITCH if varied else TRUE_PITCH
    return [record(carriers, seconds, seed * 10_000 + index, pitch) for index in range(files)]


def write(folder: Path, made: Sequence[Recording]) -> None:
    """WAV and label files."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, recording in enumerate(made):
        path = folder / f"recording-{index:03d}.wav"
        write_audio(path, recording.pcm, "pcm_s16le")
        path.with_suffix(".txt").write_text("".join(_line(label) for label in recording.labels))


def _line(label: Label) -> str:
    return f"{label.start_ms / 1_000:.3f}\t{label.end_ms / 1_000:.3f}\t{label.artifact_type}\n"


if __name__ == "__main__":
    main()
