"""`steno datasets create`, `list`, `show`, `delete` and `add-job`."""

import sys
from collections import Counter
from collections.abc import Sequence

from services.client.api import Api, Row, open_api
from services.client.display import local_time, print_fields, print_json, print_table, say
from services.client.failures import CommandFailed, WrongUsage
from services.datasets_cli.finding import dataset_path, find_dataset

_COLUMNS = ("DATASET", "NAME", "TYPES", "AUDIO", "SETS", "CREATED")
_SET_COLUMNS = ("SET", "VERSION", "STATUS", "ANNOTATIONS", "LABELLED", "CREATED")


def create_dataset(name: str, description: str, artifact_types: Sequence[str], as_json: bool) -> None:
    """Make a dataset and print its id. Raises CommandFailed."""
    with open_api() as api:
        dataset = make_dataset(api, name, description, artifact_types)
    if as_json:
        print_json(dataset)
    else:
        print(dataset["id"])


def make_dataset(api: Api, name: str, description: str, artifact_types: Sequence[str]) -> Row:
    """A fresh dataset. Raises CommandFailed."""
    body: Row = {"name": name, "artifact_types": [{"name": one} for one in artifact_types]}
    if description:
        body["description"] = description
    dataset: Row = api.post("/datasets", body)
    return dataset


def list_datasets(as_json: bool) -> None:
    """Print every dataset, newest first. Raises CommandFailed."""
    with open_api() as api:
        datasets = list(api.pages("/datasets"))
    if as_json:
        print_json(datasets)
    else:
        print_table(_COLUMNS, [_cells(dataset) for dataset in datasets])


def show_dataset(name_or_id: str, as_json: bool) -> None:
    """Print a dataset with the state of its audio and its annotation sets. Raises CommandFailed."""
    with open_api() as api:
        dataset = find_dataset(api, name_or_id)
        path = dataset_path(str(dataset["id"]))
        audio = list(api.pages(f"{path}/audio"))
        sets = api.get(f"{path}/annotation-sets")["items"]
    if as_json:
        print_json({**dataset, "audio": audio, "annotation_sets": sets})
        return
    print_fields({**_facts(dataset), "audio": _audio_line(audio)})
    for row in audio:
        if row["processing_status"] == "failed":
            print(f"failed: {row['original_filename']}: {row.get('error_message') or 'the server gave no reason'}")
    print_table(_SET_COLUMNS, [_set_cells(row) for row in sets])


def delete_dataset(name_or_id: str, yes: bool) -> None:
    """Delete a dataset with its audio and annotations, once somebody said yes. Raises CommandFailed."""
    with open_api() as api:
        dataset = find_dataset(api, name_or_id)
        if not (yes or _agreed(f"Delete {dataset['name']} with its audio and annotations? [y/N] ")):
            raise CommandFailed(f"{dataset['name']} was not deleted")
        api.delete(dataset_path(str(dataset["id"])))
    say(f"Dataset {dataset['name']} is deleted.")


def add_job(name_or_id: str, job_id: str, as_json: bool) -> None:
    """Copy the audio of a finished transcription into a dataset and print its id there. Raises CommandFailed."""
    with open_api() as api:
        dataset = find_dataset(api, name_or_id)
        added = api.post(f"{dataset_path(str(dataset['id']))}/audio/from-job", {"job_id": job_id})
    if as_json:
        print_json(added)
    else:
        print(added.get("audio_id") or added.get("id"))


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise WrongUsage("nobody is there to be asked; say --yes")
    return input(question).strip().lower() in ("y", "yes")


def _facts(dataset: Row) -> Row:
    types = ", ".join(one["name"] for one in dataset["artifact_types"])
    return {
        "id": dataset["id"],
        "name": dataset["name"],
        "description": dataset.get("description"),
        "artifact_types": types or None,
        "created_at": local_time(dataset.get("created_at")),
    }


def _audio_line(audio: Sequence[Row]) -> str:
    states = Counter(str(row["processing_status"]) for row in audio)
    seconds = sum(row.get("duration_ms") or 0 for row in audio) // 1000
    told = ", ".join(f"{count} {state}" for state, count in states.most_common()) or "none"
    return f"{told}; {seconds // 60}:{seconds % 60:02d} in all"


def _cells(dataset: Row) -> tuple[str, ...]:
    types = ", ".join(one["name"] for one in dataset["artifact_types"])
    counts = (str(dataset.get("audio_count", "")), str(dataset.get("annotation_set_count", "")))
    return (str(dataset["id"]), str(dataset["name"]), types, *counts, local_time(dataset.get("created_at")))


def _set_cells(row: Row) -> tuple[str, ...]:
    labelled = f"{row['total_positive_duration_ms'] / 1000:.3f} s"
    texts = [str(row[name]) for name in ("id", "version", "status", "total_annotations")]
    return (*texts, labelled, local_time(row.get("created_at")))
