"""A dataset's audio: what is missing is uploaded, then all is awaited."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from services.client.api import Api, Row
from services.client.failures import CommandFailed, Refused
from services.client.polling import poll
from services.datasets_cli.folder import LabelledFile
from services.datasets_cli.progress import count_bar, uploads_bar
from services.datasets_cli.recordings import sent_name
from services.datasets_cli.uploading import confirm, upload

_WAITING = frozenset({"pending", "normalizing", "embedding"})
# The states that a second import can go on from, the furthest first.
_USABLE = ("ready", "embedding", "normalizing", "pending")


def bring_in(api: Api, dataset_path: str, files: Sequence[LabelledFile]) -> Mapping[Path, Row]:
    """The ready audio of every file; only what is missing is uploaded. Raises CommandFailed, naming what cannot be used."""
    path = f"{dataset_path}/audio"
    there = _already_there(api, path, files)
    missing = [file for file in files if file.path not in there]
    ids = {**there, **_upload(api, path, missing)}
    rows = _await_ready(api, path, set(ids.values()))
    _refuse_failed(api, path, [rows[one] for one in ids.values()])
    return {file: rows[audio_id] for file, audio_id in ids.items()}


def _already_there(api: Api, path: str, files: Sequence[LabelledFile]) -> dict[Path, str]:
    """Ids of the files that the dataset has, by name and size."""
    rows = sorted(
        (row for row in api.pages(path) if row["processing_status"] in _USABLE),
        key=lambda row: _USABLE.index(row["processing_status"]),
        reverse=True,
    )
    known = {(row["original_filename"], row["file_size"]): row for row in rows}
    found = {file.path: known.get((sent_name(file.path), file.size_bytes)) for file in files}
    return {file: str(row["id"]) for file, row in found.items() if row is not None and _has_arrived(api, path, row)}


def _has_arrived(api: Api, path: str, row: Row) -> bool:
    """Whether the bytes are there. What an import left that was stopped in between is confirmed now, or removed."""
    if row["processing_status"] != "pending":
        return True
    try:
        confirm(api, path, "audio_id", str(row["id"]))
    except Refused as error:
        if error.code != "UPLOAD_INCOMPLETE":
            raise
        api.delete(f"{path}/{row['id']}")
        return False
    return True


def _upload(api: Api, path: str, files: Sequence[LabelledFile]) -> dict[Path, str]:
    if not files:
        return {}
    ids: dict[Path, str] = {}
    with uploads_bar(len(files), sum(file.size_bytes for file in files)) as bar:
        for file in files:
            with bar.file(file.path.name, file.size_bytes) as on_bytes:
                ids[file.path] = upload(api, path, "audio_id", file.path, file.size_bytes, on_bytes)
    return ids


def _await_ready(api: Api, path: str, ids: set[str]) -> Mapping[str, Row]:
    """The audio once all of it has ended, ready or failed."""

    def ask() -> Mapping[str, Row]:
        return {str(row["id"]): row for row in api.pages(path) if row["id"] in ids}

    def waiting(rows: Mapping[str, Row]) -> int:
        return sum(row["processing_status"] in _WAITING for row in rows.values())

    with count_bar("Preparing", len(ids)) as told:
        rows = poll(ask, lambda rows: not waiting(rows), lambda rows: told(len(rows) - waiting(rows)))
    if ids - rows.keys():
        raise CommandFailed("somebody deleted audio of the dataset meanwhile; run the same command again")
    return rows


def _refuse_failed(api: Api, path: str, rows: Sequence[Row]) -> None:
    """Raises CommandFailed when the server cannot use some of it. That is removed: a dataset trains only when all of it is ready."""
    failed = [row for row in rows if row["processing_status"] == "failed"]
    for row in failed:
        api.delete(f"{path}/{row['id']}")
    if failed:
        told = [f"{row['original_filename']}: {row.get('error_message') or 'the server gave no reason'}" for row in failed]
        raise CommandFailed("\n".join([*told, "Mend these or take them out of the folder, then run the same command again."]))
