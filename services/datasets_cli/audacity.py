"""Label files of Audacity: start, end and label, separated by tabs, in seconds.

Source: Audacity manual, "Importing and Exporting Labels". A line that starts with a backslash holds the frequencies of the label before it.
"""

from collections.abc import Iterable
from decimal import Decimal

from services.datasets_cli.labels import BadLabel, Label, Reading, collect, make_label, seconds


def read_audacity(text: str, name: str) -> Reading[Label]:
    """The labels of a file; frequencies are passed over."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return collect(((f"{name} line {number}", line) for number, line in enumerate(lines, 1)), _label)


def write_audacity(labels: Iterable[Label]) -> str:
    """The same form, with whole milliseconds."""
    return "".join(f"{one.start_ms / 1000:.3f}\t{one.end_ms / 1000:.3f}\t{one.artifact_type}\n" for one in labels)


def _label(place: str, line: str) -> Label | None:
    if not line.strip() or line.startswith("\\"):
        return None
    parts = line.split("\t", 2)
    if len(parts) != 3:
        raise BadLabel("a start, an end and a label are expected, with tabs between them")
    return make_label(parts[2].strip(), seconds(parts[0]), seconds(parts[1]), Decimal(1), place)
