"""The test model that comes with Steno: installed from the package the first time somebody wants it."""

import shutil
from dataclasses import replace
from pathlib import Path

from services.inference.models.catalogue.checkpoint import describe
from services.inference.models.catalogue.errors import ModelBroken, ModelError, ModelMissing
from services.inference.models.catalogue.exporting import export_folder
from services.inference.models.catalogue.folders import locked, publish, unfinished_folder
from services.inference.models.catalogue.installed import AUTO, InstalledModel, find_model
from services.inference.models.catalogue.manifest import Manifest, record_export, record_files, write_manifest
from services.inference.models.whisper.precision import Precision

TEST_MODEL = "steno-whisper-test"
BUNDLED_FOLDER = Path(__file__).parents[1] / "data" / "whisper-test"
LICENCE = "apache-2.0"
# Its vocabulary has 99 more, which it never heard; nor did it learn to translate.
LANGUAGES = ("en", "es")


def install_bundled(directory: Path, precision: Precision = Precision.FP32, source: Path = BUNDLED_FOLDER) -> InstalledModel:
    """The test model of this Steno, exported at the precision; made where it is missing or of another Steno. Raises ModelError."""
    if not source.is_dir():
        raise ModelMissing(f"{source} is missing: install Steno again")
    bundled = _manifest(source)
    found = _find(directory, bundled, precision)
    if found is None:
        with locked(directory, TEST_MODEL):
            found = _find(directory, bundled, precision) or _install(directory, bundled, precision, source)
    return found


def find_or_install(directory: Path, name: str, precision: str = AUTO) -> InstalledModel:
    """The model of a name; the bundled one is made where it is missing. Raises ModelError, and ValueError for no precision."""
    if name != TEST_MODEL:
        return find_model(directory, name)
    return install_bundled(directory, Precision.FP32 if precision == AUTO else Precision(precision))


def _manifest(source: Path) -> Manifest:
    files = record_files(source, (path.name for path in source.iterdir() if path.is_file()))
    described = describe(source, TEST_MODEL, "bundled", "", LICENCE, files, test=True)
    return replace(described, languages=LANGUAGES, translates=False)


def _find(directory: Path, bundled: Manifest, precision: Precision) -> InstalledModel | None:
    """The model that is installed, if it is this one."""
    try:
        found = find_model(directory, TEST_MODEL)
    except (ModelMissing, ModelBroken):
        return None
    return found if found.manifest.files == bundled.files and precision in found.precisions else None


def _install(directory: Path, bundled: Manifest, precision: Precision, source: Path) -> InstalledModel:
    """From scratch, with the precisions that were there before."""
    unfinished = unfinished_folder(directory, TEST_MODEL)
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir()
        for name in bundled.files:
            shutil.copyfile(source / name, unfinished / name)
        for each in {precision, *_precisions(directory)}:
            export_folder(unfinished, each)
            bundled = bundled.with_export(each, record_export(unfinished, each))
        write_manifest(unfinished, bundled)
        publish(unfinished, directory / TEST_MODEL)
    except OSError as error:
        raise ModelError(f"the test model cannot be installed in {directory}: {error.strerror or error}") from error
    return find_model(directory, TEST_MODEL)


def _precisions(directory: Path) -> tuple[Precision, ...]:
    try:
        return find_model(directory, TEST_MODEL).precisions
    except (ModelMissing, ModelBroken):
        return ()
