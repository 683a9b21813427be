"""The commands of `steno datasets`; each imports what it needs when it runs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from services.datasets_cli.labels import LabelForm

DatasetArgument = Annotated[str, typer.Argument(metavar="NAME|ID", help="A dataset, by its name or its id.")]
TrainingArgument = Annotated[str, typer.Argument(metavar="TRAINING_ID", help="The training's id.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
TypesOption = Annotated[str, typer.Option("--types", help="Artifact types, with commas between them.")]


def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people call it.")],
    types: TypesOption = "",
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Make an empty dataset and print its id."""
    from services.datasets_cli.datasets import create_dataset

    create_dataset(name, description, _names(types), as_json)


def list_all(as_json: JsonOption = False) -> None:
    """List the datasets."""
    from services.datasets_cli.datasets import list_datasets

    list_datasets(as_json)


def show(dataset: DatasetArgument, as_json: JsonOption = False) -> None:
    """Show a dataset, the state of its audio, and its annotation sets."""
    from services.datasets_cli.datasets import show_dataset

    show_dataset(dataset, as_json)


def delete(dataset: DatasetArgument, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Delete a dataset with its audio and annotations."""
    from services.datasets_cli.datasets import delete_dataset

    delete_dataset(dataset, yes)


def import_folder(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Recordings with labels.", exists=True, file_okay=False)],
    labels: Annotated[
        LabelForm, typer.Option(help="audacity: NAME.txt beside NAME.wav; jams: NAME.jams; csv: one table.")
    ] = LabelForm.AUTO,
    name: Annotated[str, typer.Option(help="The dataset's name, or the id of one; left out, the folder's name.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Upload a folder of labelled recordings and publish its labels; run again, it sends only what is missing."""
    from services.datasets_cli.importing import run_import

    run_import(folder, labels, name, as_json)


def add_job(
    dataset: DatasetArgument,
    job_id: Annotated[str, typer.Argument(metavar="JOB_ID", help="A transcription that is done.")],
    as_json: JsonOption = False,
) -> None:
    """Copy the audio of a finished transcription into a dataset."""
    from services.datasets_cli import datasets

    datasets.add_job(dataset, job_id, as_json)


def train(
    dataset: DatasetArgument,
    types: TypesOption = "",
    version: Annotated[int, typer.Option("--set", min=0, help="Version of the annotation set; 0 takes the newest published one.")] = 0,
    epochs: Annotated[int | None, typer.Option(min=1, max=100, help="Passes over the data.")] = None,
    validation_split: Annotated[float | None, typer.Option(min=0.1, max=0.5, help="Share of the files that is held out.")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0.0001, max=0.1, help="Step size.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=8, max=256, help="Chunks per step.")] = None,
    chunk_size_ms: Annotated[int | None, typer.Option(help="Length of a chunk.")] = None,
    stride_ms: Annotated[int | None, typer.Option(help="From one chunk's start to the next.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a detector on a dataset's published labels."""
    from services.datasets_cli import training

    options = {
        "epochs": epochs,
        "validation_split": validation_split,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "chunk_size_ms": chunk_size_ms,
        "stride_ms": stride_ms,
    }
    training.train(dataset, version, _names(types), options, watch, as_json)


def watch_training(training_id: TrainingArgument, as_json: JsonOption = False) -> None:
    """Follow a training to its end: epochs, then how well each type is found."""
    from services.datasets_cli import training

    training.watch(training_id, as_json)


def cancel_training(training_id: TrainingArgument) -> None:
    """End a training that has not ended."""
    from services.datasets_cli import training

    training.cancel(training_id)


def list_models(as_json: JsonOption = False) -> None:
    """List the detectors that were trained."""
    from services.datasets_cli import models

    models.list_models(as_json)


def detect(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A detector, by its name or its id.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Recordings to search.")],
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Score from which a moment counts; 0.5 unless given.")] = None,
    merge_window: Annotated[int | None, typer.Option(min=0, max=5000, help="Milliseconds within which finds are joined.")] = None,
    min_duration: Annotated[int | None, typer.Option(min=0, max=1000, help="Milliseconds below which finds are dropped.")] = None,
    as_json: JsonOption = False,
    audacity: Annotated[Path | None, typer.Option(help="Folder to write a label file per recording to.", file_okay=False)] = None,
) -> None:
    """Find artifacts in recordings."""
    from services.datasets_cli.detecting import Search
    from services.datasets_cli.detecting import detect as carry_out

    asked = {"threshold": threshold, "merge_window_ms": merge_window, "min_duration_ms": min_duration}
    options = {name: value for name, value in asked.items() if value is not None}
    carry_out(Search(model, files, options, as_json, audacity))


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


COMMANDS: Mapping[str, Callable[..., None]] = {
    "create": create,
    "list": list_all,
    "show": show,
    "delete": delete,
    "import": import_folder,
    "add-job": add_job,
    "train": train,
    "watch": watch_training,
    "cancel": cancel_training,
    "models": list_models,
    "detect": detect,
}
