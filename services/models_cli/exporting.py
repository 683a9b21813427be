"""`steno models export`: the graphs of an installed model, at more precisions."""

from collections.abc import Sequence
from pathlib import Path

from services.client.failures import CommandFailed
from services.inference.models.catalogue.bundled import TEST_MODEL, install_bundled
from services.inference.models.catalogue.errors import ModelError
from services.inference.models.catalogue.exporting import export_locked
from services.inference.models.catalogue.folders import locked
from services.inference.models.catalogue.installed import InstalledModel, find_model
from services.inference.models.whisper.precision import Precision
from services.models_cli.progress import megabytes, working


def run_export(directory: Path, name: str, precisions: Sequence[Precision]) -> None:
    """Write the graphs anew. Raises CommandFailed."""
    try:
        model = install_bundled(directory) if name == TEST_MODEL else find_model(directory, name)
        with locked(directory, model.name, wait_seconds=0):
            for precision in precisions:
                _export(model, precision)
                print(f"{model.name}: {precision} exported, {megabytes(model.graphs_bytes(precision))}")
    except ModelError as error:
        raise CommandFailed(str(error)) from error


def export_missing(directory: Path, name: str, precisions: Sequence[Precision]) -> InstalledModel:
    """Export what an installed model lacks, for the holder of its lock. Raises ModelError."""
    model = find_model(directory, name)
    for precision in precisions:
        if precision not in model.precisions:
            _export(model, precision)
            model = find_model(directory, name)
    return model


def _export(model: InstalledModel, precision: Precision) -> None:
    with working(f"exporting {model.name} at {precision}"):
        export_locked(model.folder, precision)
