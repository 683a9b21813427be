"""`steno models pull`: fetch, export, and only then show the model."""

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from services.client.display import say
from services.client.failures import CommandFailed, Interrupted
from services.inference.models.catalogue.bundled import TEST_MODEL
from services.inference.models.catalogue.checkpoint import describe
from services.inference.models.catalogue.errors import ModelBroken, ModelError, ModelMissing
from services.inference.models.catalogue.exporting import export_folder
from services.inference.models.catalogue.folders import locked, publish
from services.inference.models.catalogue.installed import InstalledModel, find_model
from services.inference.models.catalogue.known import Reference, installable_name, resolve
from services.inference.models.catalogue.manifest import Manifest, record_export, record_files, write_manifest
from services.inference.models.whisper.precision import GRAPHS_VERSION, Precision, graphs_folder
from services.models_cli.digests import is_as_offered
from services.models_cli.exporting import export_missing
from services.models_cli.folder import FolderSource, copy, find_in, find_snapshot
from services.models_cli.hub import HubSource, hush
from services.models_cli.progress import megabytes, transfer, working
from services.models_cli.selection import first_files, size_of, weights_of
from services.models_cli.source import Offer, Source

# Of the weights' size, at most: checkpoints have two bytes a weight or four.
_EXPORT_SHARES = {Precision.FP32: 2.0, Precision.FP16: 1.0, Precision.INT8: 0.75}
_SPARE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Pull:
    """What to get and what to make of it. name: to install it under. precisions: to export."""

    reference: str
    directory: Path
    precisions: Sequence[Precision]
    revision: str = ""
    name: str = ""
    offline_directory: Path | None = None


def run_pull(pull: Pull) -> None:
    """Have the model installed with its exports. Raises CommandFailed."""
    hush()
    try:
        reference = resolve(pull.reference)
        name = installable_name(pull.name) if pull.name else reference.name
        if name == TEST_MODEL:
            raise CommandFailed(f"{TEST_MODEL} comes with Steno and is installed when it is first used")
        with locked(pull.directory, name, wait_seconds=0):
            model = _install(pull, _source(pull, reference), name)
    except ImportError as error:
        raise CommandFailed(f"pulling needs the package huggingface_hub: install steno[inference,whisper-export] ({error})") from error
    except ModelError as error:
        raise CommandFailed(str(error)) from error
    except KeyboardInterrupt as error:
        raise Interrupted("stopped; the same command goes on from there") from error
    except OSError as error:
        raise CommandFailed(_explain(error, pull.directory)) from error
    _tell(model)


def _source(pull: Pull, reference: Reference) -> Source:
    if reference.path is not None:
        if pull.revision:
            raise CommandFailed(f"{reference.path} is a folder, which has no revision {pull.revision}")
        return FolderSource(reference.path)
    if pull.offline_directory is not None:
        return find_in(pull.offline_directory, reference, pull.revision)
    if reference.repository is None:
        raise CommandFailed(f"no model is known as {reference.name}; give its id on the hub, owner/name, or a folder")
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        snapshot = find_snapshot(Path(constants.HF_HUB_CACHE), reference.repository, pull.revision)
        if snapshot is None:
            raise CommandFailed(
                f"HF_HUB_OFFLINE is set and {reference.repository} is not in {constants.HF_HUB_CACHE}:"
                " pull from a folder, or with --offline-directory"
            )
        return FolderSource(snapshot, reference.repository, snapshot.name)
    return HubSource(reference.repository, pull.revision)


def _install(pull: Pull, source: Source, name: str) -> InstalledModel:
    offer = source.offer()
    if _is_there(pull.directory, name, offer):
        say(f"{name} is there already, from {offer.source} at {offer.revision[:12]}")
        return export_missing(pull.directory, name, pull.precisions)
    folder = _workplace(pull.directory, name, offer.revision)
    names = first_files(offer)
    _fetch(source, offer, names, folder, check_space_for=None)
    weights = weights_of(offer, folder)
    _fetch(source, offer, weights, folder, check_space_for=pull.precisions)
    manifest = _describe(folder, name, offer, [*names, *weights])
    manifest = _export(folder, _with_copied_exports(source, offer, folder, manifest), pull.precisions)
    _leave_only(folder, manifest)
    write_manifest(folder, manifest)
    publish(folder, pull.directory / name)
    return find_model(pull.directory, name)


def _is_there(directory: Path, name: str, offer: Offer) -> bool:
    """Whether this very commit is installed."""
    try:
        manifest = find_model(directory, name).manifest
    except (ModelMissing, ModelBroken):
        return False
    return bool(offer.revision) and (manifest.source, manifest.revision) == (offer.source, offer.revision)


def _workplace(directory: Path, name: str, revision: str) -> Path:
    """Where the model is put together; that of the same commit is found again, others are rubbish."""
    # Hashed, for a revision may be what a server or a carried manifest likes.
    folder = directory / f".{name}.{hashlib.sha256(revision.encode()).hexdigest()[:12]}.pull"
    for other in directory.iterdir():
        if other != folder and re.fullmatch(rf"\.{re.escape(name)}\.\w+\.pull", other.name):
            shutil.rmtree(other)
    folder.mkdir(exist_ok=True)
    return folder


def _fetch(source: Source, offer: Offer, names: Sequence[str], folder: Path, check_space_for: Sequence[Precision] | None) -> None:
    total = size_of(offer, names)
    if check_space_for is not None:
        _check_space(folder, total, check_space_for)
        say(f"fetching {megabytes(total)} from {offer.source}" + (f" at {offer.revision[:12]}" if offer.revision else ""))
    with transfer(total) as bar:
        for name in names:
            file = offer.files[name]
            with bar.file(name, file.size) as told:
                if not (file.etag and is_as_offered(folder / name, file.size, file.etag)):
                    source.fetch(offer, name, folder / name, told)


def _check_space(folder: Path, weights_bytes: int, precisions: Sequence[Precision]) -> None:
    """Raises CommandFailed where weights and exports will not fit beside what is there."""
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    exports = int(weights_bytes * sum(_EXPORT_SHARES[precision] for precision in precisions))
    needed = max(0, weights_bytes - there) + exports + _SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CommandFailed(f"{folder.parent} has {megabytes(free)} free, the model and its exports need up to {megabytes(needed)}")


def _describe(folder: Path, name: str, offer: Offer, names: Sequence[str]) -> Manifest:
    return describe(folder, name, offer.source, offer.revision, offer.licence, record_files(folder, names), test=False)


def _with_copied_exports(source: Source, offer: Offer, folder: Path, manifest: Manifest) -> Manifest:
    """With the exports that come along from another models directory."""
    if offer.manifest is None or offer.manifest.graphs_version != GRAPHS_VERSION or not isinstance(source, FolderSource):
        return manifest
    for precision in Precision:
        files = offer.manifest.exports.get(precision)
        if files is None:
            continue
        foreign = [path for path in files if (folder / path).parent != graphs_folder(folder, precision)]
        if foreign:
            raise CommandFailed(f"{source.folder} names {', '.join(foreign)} as a graph: it was not written by Steno")
        for path in files:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            copy(source.folder / path, folder / path, lambda _: None)
        if record_export(folder, precision) != files:
            raise CommandFailed(f"{source.folder} has other {precision} graphs than it tells of: copy the folder anew")
        manifest = manifest.with_export(precision, files)
    return manifest


def _export(folder: Path, manifest: Manifest, precisions: Sequence[Precision]) -> Manifest:
    for precision in precisions:
        if precision not in manifest.exports:
            with working(f"exporting {manifest.name} at {precision}"):
                export_folder(folder, precision)
            manifest = manifest.with_export(precision, record_export(folder, precision))
    return manifest


def _leave_only(folder: Path, manifest: Manifest) -> None:
    """Without what an earlier try of other options left."""
    kept = {*manifest.files, *(path for files in manifest.exports.values() for path in files)}
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if str(path.relative_to(folder)) not in kept:
            path.unlink()
    for path in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        with suppress(OSError):
            path.rmdir()


def _explain(error: OSError, directory: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {directory} is full; make room, the same command goes on from there"
    return f"{error.filename or directory}: {error.strerror or error}"


def _tell(model: InstalledModel) -> None:
    told = ", ".join(model.precisions) or f"no precision yet (`steno models export {model.name} --precision int8`)"
    print(f"{model.name}: {megabytes(model.size_bytes)}, exported at {told}; licence: {model.manifest.licence}")
    if model.precisions:
        print(f"Run it with `steno up --model {model.name}`.")


def usual_precisions() -> tuple[Precision, ...]:
    """What this machine runs: int8, and fp16 where it has a GPU of NVIDIA's."""
    gpu = any(Path("/dev").glob("nvidia[0-9]*")) or "NVIDIA_VISIBLE_DEVICES" in os.environ
    return (Precision.INT8, Precision.FP16) if gpu else (Precision.INT8,)
