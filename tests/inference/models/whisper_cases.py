"""The windows that our runtime and transformers both decode."""

from dataclasses import dataclass
from pathlib import Path

from services.inference.models.whisper.prompts import Task

MEETING = Path(__file__).parents[3] / "samples" / "whisper-meeting.ogg"
REFERENCE = Path(__file__).parents[1] / "data" / "whisper_reference.json"
MOST_TOKENS = 60


@dataclass(frozen=True)
class Case:
    """A stretch of the meeting in the model's own words, and what to do with it."""

    start_ms: int
    end_ms: int
    task: Task


CASES = tuple(
    Case(start_ms, end_ms, Task(language, translate, timestamps, text=text))
    for start_ms, end_ms, language, translate, text in (
        (0, 30_000, "en", False, ""),
        (6_000, 17_000, "en", False, "Good morning. The white window is in Madrid."),
        (14_000, 19_771, "de", True, ""),
        (21_000, 50_999, "en", False, "Hello"),
        (28_000, 46_750, "zh", True, "a b c d e f g h i j"),
        (23_000, 52_500, "en", False, "report " * 60),
        (42_000, 46_000, "en", True, "x"),
        (0, 600, "es", False, ""),
    )
    for timestamps in (False, True)
)
