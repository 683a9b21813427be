"""Make every file of samples/ again: `python -m tools.speech.make [FOLDER]`."""

import sys
from pathlib import Path

from tools.speech.clips import make_clips
from tools.speech.meeting import make_meeting


def main(folder: Path) -> None:
    """Write the meeting and the clips into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    make_meeting(folder)
    make_clips(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("samples"))
