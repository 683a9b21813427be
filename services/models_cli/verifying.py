"""`steno models verify`: that every file is what was installed, and that every export transcribes."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from services.client.failures import EXIT_FAILED, CommandFailed
from services.inference.models.catalogue.checkpoint import weight_files
from services.inference.models.catalogue.errors import ModelError
from services.inference.models.catalogue.installed import InstalledModel, find_model
from services.inference.models.catalogue.known import resolve
from services.inference.models.catalogue.manifest import MANIFEST_FILE, digest
from services.inference.models.whisper.precision import GRAPHS_VERSION, Precision

_CANARY_SECONDS = 3
_INSTALL = "install steno[inference,whisper-export]"


def run_verify(directory: Path, names: Sequence[str]) -> int:
    """Print what is wrong with the named models, or all; returns the exit status. Raises CommandFailed."""
    wrong = 0
    for name in names or _all(directory):
        problems = 0
        for problem in _problems(directory, name):
            problems += 1
            print(f"{name}: {problem}", flush=True)
        if not problems:
            print(f"{name}: ok", flush=True)
        wrong += problems
    return EXIT_FAILED if wrong else 0


def _all(directory: Path) -> list[str]:
    if not directory.is_dir():
        return []
    return sorted(path.parent.name for path in directory.glob(f"*/{MANIFEST_FILE}") if not path.parent.name.startswith("."))


def _problems(directory: Path, name: str) -> Iterator[str]:
    try:
        resolve(name)
        model = find_model(directory, name)
        damaged = list(_damaged_files(model))
        yield from damaged
        if not damaged:
            yield from _unreadable_weights(model)
        yield from _failing_exports(model)
    except ModelError as error:
        yield str(error)


def _damaged_files(model: InstalledModel) -> Iterator[str]:
    for name, record in model.manifest.files.items():
        path = model.folder / name
        if not path.is_file():
            yield f"{name} is missing; {_again(model)}"
        elif path.stat().st_size != record.size or digest(path) != record.sha256:
            yield f"{name} is not the file that was installed; {_again(model)}"


def _again(model: InstalledModel) -> str:
    if model.test:
        return f"run `steno models remove {model.name}`: it is made again when it is next used"
    return f"run `steno models remove {model.name}` and `steno models pull {model.manifest.source}`"


def _unreadable_weights(model: InstalledModel) -> Iterator[str]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise CommandFailed(f"reading weights needs the package safetensors: {_INSTALL} ({error})") from error
    for name in weight_files(model.folder):
        if name.endswith(".safetensors"):
            try:
                with safe_open(model.folder / name, framework="numpy") as file:
                    if not list(file.keys()):
                        yield f"{name} holds no weights; {_again(model)}"
            except SafetensorError as error:
                yield f"{name} cannot be read ({error}); {_again(model)}"


def _failing_exports(model: InstalledModel) -> Iterator[str]:
    if model.manifest.graphs_version != GRAPHS_VERSION and model.manifest.exports:
        yield "its exports are of another Steno; " + _export(model, *(each for each in Precision if each in model.manifest.exports))
    for precision in model.precisions:
        files = model.manifest.exports[precision]
        damaged = [path for path, told in files.items() if not (model.folder / path).is_file() or digest(model.folder / path) != told]
        if damaged:
            yield f"{', '.join(damaged)} not as exported; " + _export(model, precision)
            continue
        failure = _try(model, precision)
        if failure:
            yield f"{precision} does not transcribe ({failure}); " + _export(model, precision)
    if not model.manifest.exports:
        yield "no precision is exported; " + _export(model, Precision.INT8)


def _export(model: InstalledModel, *precisions: Precision) -> str:
    return f"run `steno models export {model.name} --precision {','.join(precisions)}`"


def _try(model: InstalledModel, precision: Precision) -> str:
    """Transcribe a window of noise; what went wrong, or nothing."""
    try:
        import numpy as np

        from services.inference.models.whisper.model import WhisperRequest, load_whisper
        from services.inference.models.whisper.prompts import Task
        from services.inference.pcm import SAMPLE_RATE_HZ
    except ImportError as error:
        raise CommandFailed(f"the speech models' packages do not load: {_INSTALL} ({error})") from error
    noise = np.random.default_rng(1).normal(0, 500, _CANARY_SECONDS * SAMPLE_RATE_HZ).astype(np.int16)
    try:
        whisper = load_whisper(model.folder, precision)
        found = whisper.transcribe([WhisperRequest(noise, Task(model.languages[0]))])[0].window
    except Exception as error:  # whatever the runtime raises is what is wrong with the graphs
        return f"{type(error).__name__}: {error}".splitlines()[0]
    likelihood = found.average_log_probability
    return "" if likelihood is not None and math.isfinite(likelihood) and likelihood <= 0 else f"a likelihood of {likelihood}"
