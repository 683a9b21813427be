"""Write deploy/observability/grafana/steno.json: `python -m tools.dashboard`."""

import json
from pathlib import Path

from tools.dashboard.steno import document

FILE = Path(__file__).resolve().parents[2] / "deploy" / "observability" / "grafana" / "steno.json"


def text() -> str:
    """The file of this moment."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
