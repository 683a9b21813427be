"""`steno datasets import`: a folder of labelled recordings as a dataset with a published annotation set."""

from collections.abc import Sequence
from pathlib import Path

from services.client.api import Api, Row, open_api
from services.client.display import print_fields, print_json, say
from services.client.failures import CommandFailed, Interrupted, Unreachable
from services.datasets_cli.annotations import annotations_of, publish
from services.datasets_cli.audio import bring_in
from services.datasets_cli.datasets import make_dataset
from services.datasets_cli.finding import dataset_path, find_dataset, is_id, named_datasets
from services.datasets_cli.folder import LabelledFolder, read_folder
from services.datasets_cli.labels import LabelForm

_AGAIN = "Run the same command again: it goes on from here."


def run_import(folder: Path, form: LabelForm, name: str, as_json: bool) -> None:
    """Bring in what the dataset lacks, publish the labels, and print what there is now. Raises CommandFailed."""
    found = read_folder(folder, form)
    _tell(found)
    with open_api() as api:
        try:
            told = _import(api, found, name or folder.resolve().name)
        except KeyboardInterrupt as error:
            raise Interrupted(_AGAIN) from error
        except Unreachable as error:
            raise CommandFailed(f"{error}\n{_AGAIN}") from error
    if as_json:
        print_json(told)
    else:
        print_fields(told)


def _tell(folder: LabelledFolder) -> None:
    if folder.ignored:
        say(f"passed over, for no recording has the name: {', '.join(path.name for path in folder.ignored)}")
    bare = [file.path.name for file in folder.files if not file.labels]
    if bare:
        say(f"taken as free of artifacts, for they have no labels: {', '.join(bare)}")


def _import(api: Api, folder: LabelledFolder, name: str) -> Row:
    dataset = _dataset(api, name, folder.artifact_types)
    path = dataset_path(str(dataset["id"]))
    audio = bring_in(api, path, folder.files)
    annotations = annotations_of(folder.files, audio)
    published = publish(api, path, annotations)
    return {
        "dataset": dataset["id"],
        "name": dataset["name"],
        "recordings": len(audio),
        "seconds": sum(int(row["duration_ms"]) for row in audio.values()) // 1000,
        "annotations": annotations.total(),
        "annotation_set": published["id"],
        "version": published["version"],
    }


def _dataset(api: Api, name: str, artifact_types: Sequence[str]) -> Row:
    """The dataset that is meant, new or as an earlier import left it, with all the types. Raises CommandFailed."""
    if not is_id(name) and not named_datasets(api, name):
        return make_dataset(api, name, "", artifact_types)
    dataset = find_dataset(api, name)
    declared = {one["name"] for one in dataset["artifact_types"]}
    added = [{"name": one} for one in artifact_types if one not in declared]
    if added:
        dataset = api.patch(dataset_path(str(dataset["id"])), {"artifact_types": [*dataset["artifact_types"], *added]})
    return dataset
