"""`steno models list`."""

from pathlib import Path
from typing import Any

from services.client.display import print_json, print_table
from services.inference.models.catalogue.bundled import TEST_MODEL
from services.inference.models.catalogue.installed import InstalledModel, list_models
from services.inference.models.catalogue.known import KNOWN, KnownModel
from services.models_cli.progress import megabytes

_COLUMNS = ("name", "state", "size", "precisions", "languages", "source")
_FEW = 4


def run_list(directory: Path, as_json: bool) -> None:
    """Print what is installed and what is known besides."""
    installed = list_models(directory)
    names = {model.name for model in installed}
    known = [model for model in KNOWN if model.name not in names]
    if as_json:
        print_json({"installed": [_document(model) for model in installed], "known": [_known_document(model) for model in known]})
        return
    bundled = [] if TEST_MODEL in names else [(TEST_MODEL, "bundled", "", "made when it is first used", "en es", "bundled")]
    print_table(_COLUMNS, [*map(_row, installed), *bundled, *map(_known_row, known)])


def _document(model: InstalledModel) -> dict[str, Any]:
    manifest = model.manifest
    return {
        "name": model.name,
        "source": manifest.source,
        "revision": manifest.revision,
        "licence": manifest.licence,
        "size_bytes": model.size_bytes,
        "precisions": list(model.precisions),
        "languages": list(model.languages),
        "translates": model.translates,
        "bundled": model.name == TEST_MODEL,
        "test": model.test,
        "folder": str(model.folder),
    }


def _known_document(model: KnownModel) -> dict[str, Any]:
    return {"name": model.name, "pull": model.alias, "source": model.repository, "download_bytes": model.megabytes * 1_000_000}


def _row(model: InstalledModel) -> tuple[str, ...]:
    state = "test model" if model.test else "installed"
    languages = " ".join(model.languages) if len(model.languages) <= _FEW else f"{len(model.languages)} languages"
    precisions = " ".join(model.precisions) or "none exported"
    return (model.name, state, megabytes(model.size_bytes), precisions, languages, model.manifest.source)


def _known_row(model: KnownModel) -> tuple[str, ...]:
    languages = "en" if model.english_only else "99 languages"
    return (model.name, f"steno models pull {model.alias}", f"{model.megabytes:,} MB", "", languages, model.repository)
