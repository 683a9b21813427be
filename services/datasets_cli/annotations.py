"""Labels as a published annotation set: what is missing is written, in parts, into the newest draft."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from services.client.api import Api, Row
from services.client.display import say
from services.client.failures import CommandFailed
from services.datasets_cli.folder import LabelledFile
from services.datasets_cli.labels import Label
from services.datasets_cli.progress import count_bar

AT_ONCE = 500
# Codecs pad, and editors round: labels may reach that far beyond the decoded end, and are cut there.
_SLACK_MS = 100
_MOST_PROBLEMS = 20


class Annotation(NamedTuple):
    """What the API keeps of a label."""

    audio_file_id: str
    artifact_type: str
    start_ms: int
    end_ms: int
    confidence: float


def annotations_of(files: Sequence[LabelledFile], audio: Mapping[Path, Row]) -> Counter[Annotation]:
    """The labels of all files. Raises CommandFailed, naming those outside of their recording."""
    found: Counter[Annotation] = Counter()
    problems: list[str] = []
    for file in files:
        row = audio[file.path]
        length_ms = int(row["duration_ms"])
        for label in file.labels:
            if label.end_ms > length_ms + _SLACK_MS or label.start_ms >= length_ms:
                problems.append(_outside(file, label, length_ms))
            else:
                end_ms = min(label.end_ms, length_ms)
                found[Annotation(str(row["id"]), label.artifact_type, label.start_ms, end_ms, label.confidence)] += 1
    if problems:
        more = [f"and {len(problems) - _MOST_PROBLEMS} more"] if len(problems) > _MOST_PROBLEMS else []
        raise CommandFailed("\n".join([*problems[:_MOST_PROBLEMS], *more]))
    return found


def publish(api: Api, dataset_path: str, wanted: Counter[Annotation]) -> Row:
    """The published set that holds exactly these. Raises CommandFailed."""
    path = f"{dataset_path}/annotation-sets"
    found, present = _newest(api, path)
    if found is not None and found["status"] == "published" and present == wanted:
        say(f"Version {found['version']} holds these labels already.")
        return found
    if found is None or found["status"] != "draft" or present - wanted:
        found, present = api.post(path, {}), Counter()
    set_path = f"{path}/{found['id']}"
    _write(api, set_path, wanted - present)
    published: Row = api.post(f"{set_path}/publish", {})
    return published


def _newest(api: Api, path: str) -> tuple[Row | None, Counter[Annotation]]:
    sets: Sequence[Row] = api.get(path)["items"]
    if not sets:
        return None, Counter()
    newest = max(sets, key=lambda row: int(row["version"]))
    detail: Row = api.get(f"{path}/{newest['id']}")
    return detail, Counter(Annotation(*(row[name] for name in Annotation._fields)) for row in detail["annotations"])


def _write(api: Api, set_path: str, missing: Counter[Annotation]) -> None:
    rows = sorted(missing.elements())
    done = 0
    with count_bar("Annotating", len(rows)) as told:
        for batch in _batches(rows):
            api.post(f"{set_path}/annotations/bulk", {"annotations": [one._asdict() for one in batch]})
            done += len(batch)
            told(done)


def _batches(rows: Iterable[Annotation]) -> Iterator[list[Annotation]]:
    source = iter(rows)
    while batch := list(islice(source, AT_ONCE)):
        yield batch


def _outside(file: LabelledFile, label: Label, length_ms: int) -> str:
    stretch = f"{label.start_ms / 1000:.3f} to {label.end_ms / 1000:.3f} s"
    return f"{label.place}: {label.artifact_type} at {stretch} lies outside of {file.path.name}, which ends at {length_ms / 1000:.3f} s"
