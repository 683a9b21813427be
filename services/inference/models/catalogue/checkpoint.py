"""What a folder in Hugging Face layout says about its model."""

from pathlib import Path
from typing import Any

from services.inference.models.catalogue.errors import ModelBroken
from services.inference.models.catalogue.known import find_known
from services.inference.models.catalogue.manifest import FileRecord, Manifest
from services.inference.models.whisper.architecture import (
    CONFIG_FILE,
    GENERATION_FILE,
    INDEX_FILE,
    SINGLE_FILE,
    TOKENIZER_FILE,
    UnsupportedModel,
    read_architecture,
    read_json,
)
from services.inference.models.whisper.languages import read_language_tokens

NEEDED = (CONFIG_FILE, GENERATION_FILE, TOKENIZER_FILE)
# Nothing reads them here; whoever takes the folder elsewhere may want them.
WELCOME = ("preprocessor_config.json", "tokenizer_config.json", "special_tokens_map.json", "README.md", "LICENSE")
_ENGLISH = ("en",)


def shards_of(index: Path) -> tuple[str, ...]:
    """The weight files that an index names. Raises UnsupportedModel."""
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise UnsupportedModel(f"{index} names no files")
    found = sorted({str(name) for name in names.values()})
    if any(Path(name).name != name or not name.endswith(".safetensors") for name in found):
        raise UnsupportedModel(f"{index} names files that are no safetensors beside it")
    return tuple(found)


def weight_files(folder: Path) -> tuple[str, ...]:
    """The files that hold the weights, their index included. Raises ModelBroken."""
    if (folder / SINGLE_FILE).is_file():
        return (SINGLE_FILE,)
    if (folder / INDEX_FILE).is_file():
        return (INDEX_FILE, *_checked(shards_of, folder / INDEX_FILE))
    raise ModelBroken(no_safetensors(str(folder), {path.name for path in folder.iterdir()}))


def no_safetensors(source: str, names: set[str]) -> str:
    """The sentence for a source without weights that can be taken."""
    if any(name.endswith((".bin", ".pt", ".pth", ".h5", ".msgpack")) for name in names):
        return (
            f"{source} has its weights in no other form than pickles or the like, which run code when they are read; Steno takes"
            " safetensors only: ask its authors for them, or convert it yourself where that does no harm"
        )
    return f"{source} has no {SINGLE_FILE}: it holds no Whisper model in Hugging Face layout"


def describe(folder: Path, name: str, source: str, revision: str, licence: str, files: dict[str, FileRecord], test: bool) -> Manifest:
    """The manifest of a checkpoint. Raises ModelBroken when it is none that can be run."""
    _checked(read_architecture, folder)
    languages = _checked(read_languages, folder)
    known = find_known(source)
    translates = len(languages) > 1 and (known.translates if known else "translate" in _tasks(folder))
    return Manifest(name, source, revision, licence, languages, translates, files, test=test)


def read_languages(folder: Path) -> tuple[str, ...]:
    """Codes in the order of their tokens; English alone where the checkpoint says so. Raises UnsupportedModel."""
    return tuple(read_language_tokens(folder)) or _ENGLISH


def _tasks(folder: Path) -> Any:
    return read_json(folder / GENERATION_FILE).get("task_to_id") or ("translate",)


def _checked(read: Any, path: Path) -> Any:
    try:
        return read(path)
    except (UnsupportedModel, KeyError, TypeError) as error:
        raise ModelBroken(f"this model cannot be run: {error}") from error
