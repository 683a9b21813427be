"""What of pyannote can be known without it."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from services.inference.transcript import Turn
from services.inference.triton.parameters import Parameters
from services.inference.triton.pyannote_model import open_pyannote, to_turns


@dataclass(frozen=True)
class Segment:
    """As pyannote.core gives them: seconds."""

    start: float
    end: float


def test_speakers_are_numbered_as_they_appear() -> None:
    tracks = [(Segment(2.0, 3.5), "A", "SPEAKER_00"), (Segment(0.031, 2.25), "B", "SPEAKER_01"), (Segment(4, 4.0001), "C", "SPEAKER_02")]
    assert to_turns(tracks) == [Turn(31, 2_250, 0), Turn(2_000, 3_500, 1)]


def test_folder_without_a_pipeline_is_refused(tmp_path: Path) -> None:
    for folder in ("", str(tmp_path)):
        with pytest.raises(ValueError, match="pyannote_directory"):
            open_pyannote(Parameters({"pyannote_directory": folder}, {}))
