"""The commands of `steno models`; each imports what it needs when it runs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

DataOption = Annotated[Path, typer.Option("--data", help="Folder for everything that is kept; models lie in its models/.", file_okay=False)]
DirectoryOption = Annotated[
    Path | None,
    typer.Option(envvar="STENO_INFERENCE_MODELS_DIRECTORY", help="Folder of the models, where it is not in --data.", file_okay=False),
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A model's name, as `steno models list` shows it.")]
PrecisionOption = Annotated[
    str, typer.Option("--precision", help="fp32, fp16, int8, or several with commas; left out, what this machine runs best.")
]


def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    data: DataOption = Path(".steno"),
    models_directory: DirectoryOption = None,
) -> None:
    """List the models that are installed, and those that can be pulled by name."""
    from services.models_cli.listing import run_list

    run_list(_directory(data, models_directory), as_json)


def pull(
    model: Annotated[str, typer.Argument(metavar="NAME|HF_ID|PATH", help="A name such as small, an id such as owner/name, or a folder.")],
    revision: Annotated[str, typer.Option(help="Branch, tag or commit; left out, main.")] = "",
    name: Annotated[str, typer.Option(help="What to call it here; left out, the last part of its id.")] = "",
    precision: PrecisionOption = "",
    no_export: Annotated[bool, typer.Option("--no-export", help="Only fetch; export later with `steno models export`.")] = False,
    offline_directory: Annotated[
        Path | None, typer.Option(help="Folder of models to take it from instead of the hub.", exists=True, file_okay=False)
    ] = None,
    data: DataOption = Path(".steno"),
    models_directory: DirectoryOption = None,
) -> None:
    """Install a Whisper model from the Hugging Face hub or a folder: safetensors only, checked, exported to run."""
    from services.models_cli.pulling import Pull, run_pull, usual_precisions

    precisions = [] if no_export else _precisions(precision) or usual_precisions()
    run_pull(Pull(model, _directory(data, models_directory), precisions, revision, name, offline_directory))


def export(
    name: NameArgument,
    precision: PrecisionOption = "",
    data: DataOption = Path(".steno"),
    models_directory: DirectoryOption = None,
) -> None:
    """Write the graphs that run an installed model."""
    from services.models_cli.exporting import run_export
    from services.models_cli.pulling import usual_precisions

    run_export(_directory(data, models_directory), name, _precisions(precision) or usual_precisions())


def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Models to check; left out, all.")] = None,
    data: DataOption = Path(".steno"),
    models_directory: DirectoryOption = None,
) -> None:
    """Check every file of the installed models, and that each export transcribes."""
    from services.models_cli.verifying import run_verify

    raise typer.Exit(run_verify(_directory(data, models_directory), names or ()))


def remove(
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data: DataOption = Path(".steno"),
    models_directory: DirectoryOption = None,
) -> None:
    """Delete an installed model."""
    from services.models_cli.removing import run_remove

    run_remove(_directory(data, models_directory), name, yes)


def _directory(data: Path, models_directory: Path | None) -> Path:
    return (models_directory or data / "models").absolute()


def _precisions(text: str) -> list[Any]:
    from services.inference.models.whisper.precision import Precision

    try:
        return [Precision(part) for part in dict.fromkeys(part.strip() for part in text.split(",")) if part]
    except ValueError as error:
        raise typer.BadParameter(f"{error}; known: {', '.join(Precision)}", param_hint="--precision") from error


COMMANDS: Mapping[str, Callable[..., None]] = {"list": list_models, "pull": pull, "export": export, "verify": verify, "remove": remove}
