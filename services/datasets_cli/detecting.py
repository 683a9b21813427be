"""`steno datasets detect`: recordings in, timestamped artifacts out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.client.api import Api, Row, open_api
from services.client.display import print_json, print_table, say
from services.client.failures import CommandFailed, Interrupted, Refused, Unreachable, WrongUsage
from services.client.polling import poll
from services.datasets_cli.audacity import write_audacity
from services.datasets_cli.finding import find_model, inference_path
from services.datasets_cli.labels import Label
from services.datasets_cli.progress import count_bar, uploads_bar
from services.datasets_cli.recordings import content_type_of
from services.datasets_cli.uploading import upload

_ENDED = frozenset({"completed", "failed"})
_COLUMNS = ("FILE", "TYPE", "START", "END", "CONFIDENCE")


@dataclass(frozen=True)
class Search:
    """What the command line asks for. options: thresholds that differ from the server's. audacity: a folder for label files."""

    model: str
    files: Sequence[Path]
    options: Mapping[str, Any]
    as_json: bool = False
    audacity: Path | None = None


@dataclass
class _Sent:
    """Files by id, in the order of the command line, and what was wrong with others."""

    paths: dict[str, Path] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def detect(search: Search) -> None:
    """Run a detector over files and bring out what it found. Raises CommandFailed, after that, when a file was not searched."""
    sizes = _check(search)
    with open_api() as api:
        model = find_model(api, search.model)
        order = api.post("/inference-jobs", {"model_id": model["id"], "config": dict(search.options)})
        try:
            sent = _send(api, str(order["id"]), sizes)
            job = _await(api, str(order["id"]), sent)
        except KeyboardInterrupt as error:
            raise Interrupted(f"What was sent is still searched, as order {order['id']}.") from error
        except Unreachable as error:
            raise CommandFailed(f"{error}\nWhat was sent is still searched, as order {order['id']}.") from error
    rows = {str(row["id"]): row for row in job["files"]}
    _deliver(search, job, [(path, rows[file_id]) for file_id, path in sent.paths.items()], sent)


def _check(search: Search) -> dict[Path, int]:
    """Sizes of the files. Raises CommandFailed before anything is sent."""
    if search.as_json and search.audacity is not None:
        raise WrongUsage("--json and --audacity bring out the same: choose one.")
    if search.audacity is not None and len({path.stem for path in search.files}) < len(search.files):
        raise WrongUsage("two files would share their label file: rename one, or search them one after the other.")
    sizes = {}
    for path in search.files:
        content_type_of(path)
        try:
            with path.open("rb") as file:
                sizes[path] = file.seek(0, 2)
        except OSError as error:
            raise CommandFailed(f"cannot read {path}: {error.strerror}") from error
    return sizes


def _send(api: Api, order_id: str, sizes: Mapping[Path, int]) -> _Sent:
    """Upload every file; one that is refused does not keep back the others."""
    sent = _Sent()
    files_path = f"{inference_path(order_id)}/files"
    with uploads_bar(len(sizes), sum(sizes.values())) as bar:
        for path, size_bytes in sizes.items():
            with bar.file(path.name, size_bytes) as on_bytes:
                try:
                    sent.paths[upload(api, files_path, "file_id", path, size_bytes, on_bytes)] = path
                except Refused as error:
                    sent.problems.append(str(error))
    return sent


def _await(api: Api, order_id: str, sent: _Sent) -> Row:
    """The order once every file that was sent has ended."""

    def ask() -> Row:
        job: Row = api.get(inference_path(order_id))
        return job

    def ended(job: Row) -> int:
        return sum(row["status"] in _ENDED for row in job["files"] if row["id"] in sent.paths)

    def is_over(job: Row) -> bool:
        return ended(job) == len(sent.paths) or job["status"] == "cancelled"

    with count_bar("Searching", len(sent.paths)) as told:
        return poll(ask, is_over, lambda job: told(ended(job)))


def _deliver(search: Search, job: Row, found: Sequence[tuple[Path, Row]], sent: _Sent) -> None:
    """Raises CommandFailed when a file was not searched to its end."""
    if search.as_json:
        print_json(job)
    elif search.audacity is not None:
        _save(search.audacity, found)
    else:
        print_table(_COLUMNS, [cells for path, row in found for cells in _cells(path, row)])
    problems = [*sent.problems, *(f"{path}: {_reason(row)}" for path, row in found if row["status"] != "completed")]
    if problems:
        raise CommandFailed("\n".join(problems))


def _save(folder: Path, found: Sequence[tuple[Path, Row]]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, row in found:
            if row["status"] == "completed":
                target = folder / f"{path.stem}.txt"
                target.write_text(write_audacity(_labels(row)), encoding="utf-8")
                say(f"{target}: {row['detection_count']}")
    except OSError as error:
        raise CommandFailed(f"cannot write {error.filename}: {error.strerror}") from error


def _labels(row: Row) -> list[Label]:
    return [Label(one["artifact_type"], one["start_ms"], one["end_ms"], one["confidence"]) for one in row["detections"]]


def _cells(path: Path, row: Row) -> list[tuple[str, ...]]:
    times = [(one, f"{one.start_ms / 1000:.3f}", f"{one.end_ms / 1000:.3f}") for one in _labels(row)]
    return [(str(path), one.artifact_type, start, end, f"{one.confidence:.2f}") for one, start, end in times]


def _reason(row: Row) -> str:
    return str(row.get("error_message") or f"ended {row['status']}")
