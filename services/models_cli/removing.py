"""`steno models remove`."""

import sys
from pathlib import Path

from services.client.failures import CommandFailed, WrongUsage
from services.inference.models.catalogue.errors import ModelError
from services.inference.models.catalogue.folders import locked, remove
from services.inference.models.catalogue.installed import find_model
from services.models_cli.progress import megabytes


def run_remove(directory: Path, name: str, yes: bool) -> None:
    """Delete a model's folder, once somebody said yes. Raises CommandFailed."""
    try:
        model = find_model(directory, name)
        if not (yes or _agreed(f"Remove {model.name} ({megabytes(model.size_bytes)}) from {directory}? [y/N] ")):
            raise CommandFailed(f"{model.name} was not removed")
        with locked(directory, model.name, wait_seconds=0):
            remove(model.folder)
    except ModelError as error:
        raise CommandFailed(str(error)) from error
    except OSError as error:
        raise CommandFailed(f"{error.filename}: {error.strerror}") from error
    print(f"{model.name} is removed.")


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise WrongUsage("nobody is there to be asked; say --yes")
    return input(question).strip().lower() in ("y", "yes")
