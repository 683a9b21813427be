"""Exports, kept in step with the manifest. Needs the extra whisper-export when it runs."""

from pathlib import Path

from services.inference.models.catalogue.errors import ModelBroken, ModelError
from services.inference.models.catalogue.manifest import read_manifest, record_export, write_manifest
from services.inference.models.whisper.architecture import UnsupportedModel
from services.inference.models.whisper.precision import Precision

NEEDS = "exporting needs the packages onnx and safetensors: install steno[inference,whisper-export]"


def export_locked(folder: Path, precision: Precision) -> None:
    """Write one precision, for the holder of the model's lock; an earlier export of it counts as absent meanwhile. Raises ModelError."""
    manifest = read_manifest(folder)
    write_manifest(folder, manifest.without_export(precision))
    export_folder(folder, precision)
    write_manifest(folder, manifest.with_export(precision, record_export(folder, precision)))


def export_folder(folder: Path, precision: Precision) -> None:
    """Write the graphs of a folder that is nobody else's. Raises ModelError."""
    try:
        from services.inference.models.whisper.export.export import export_whisper
    except ImportError as error:
        raise ModelError(f"{NEEDS} ({error})") from error
    try:
        export_whisper(folder, precision)
    except (UnsupportedModel, KeyError) as error:
        raise ModelBroken(f"{folder.name} cannot be exported: {error}") from error
    except OSError as error:
        raise ModelError(f"{folder.name} was not exported: {error.strerror or error}") from error
