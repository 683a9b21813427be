"""The models of a directory, for whoever runs them: reads only, with the standard library only."""

from dataclasses import dataclass
from pathlib import Path

from services.inference.models.catalogue.errors import ModelBroken, ModelMissing
from services.inference.models.catalogue.known import find_known, resolve
from services.inference.models.catalogue.manifest import MANIFEST_FILE, Manifest, read_manifest
from services.inference.models.whisper.precision import GRAPHS_VERSION, Precision, graphs_folder

AUTO = "auto"
_ON_CPU = (Precision.INT8, Precision.FP32, Precision.FP16)
_ON_CUDA = (Precision.FP16, Precision.FP32, Precision.INT8)
_OF_TESTS = (Precision.FP32, Precision.INT8, Precision.FP16)


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model and its folder, in Hugging Face layout with `onnx/<precision>/`."""

    folder: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """What settings and transcripts call it: its folder's name, which a manifest that was copied need not have."""
        return self.folder.name

    @property
    def test(self) -> bool:
        """Whether it was made to test Steno and is of no use for real speech."""
        return self.manifest.test

    @property
    def languages(self) -> tuple[str, ...]:
        """ISO 639 codes it transcribes."""
        return self.manifest.languages

    @property
    def translates(self) -> bool:
        """Whether it translates into English."""
        return self.manifest.translates

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """Those that can be run now."""
        if self.manifest.graphs_version != GRAPHS_VERSION:
            return ()
        return tuple(precision for precision in Precision if precision in self.manifest.exports)

    @property
    def size_bytes(self) -> int:
        """All that it takes on the disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def graphs_bytes(self, precision: Precision) -> int:
        """The weights that a process holds at a precision."""
        return sum(path.stat().st_size for path in graphs_folder(self.folder, precision).iterdir())

    def choose_precision(self, wanted: str = AUTO, cuda: bool = False) -> Precision:
        """The precision to run: the one wanted, or the best that is there. Raises ModelMissing when it is not exported."""
        if wanted != AUTO:
            best = Precision(wanted)
            if best in self.precisions:
                return best
        else:
            order = _OF_TESTS if self.test else _ON_CUDA if cuda else _ON_CPU
            best = order[0]
            for precision in order:
                if precision in self.precisions:
                    return precision
        raise ModelMissing(f"{self.name} is not exported at {best}; run `steno models export {self.name} --precision {best}`")


def find_model(directory: Path, name: str) -> InstalledModel:
    """The model of a name, alias or hub id. Raises ModelMissing with what to run, ModelBroken."""
    reference = resolve(name)
    folder = directory / reference.name
    if (folder / MANIFEST_FILE).is_file():
        return InstalledModel(folder, read_manifest(folder))
    if reference.repository is None:
        there = ", ".join(model.name for model in list_models(directory)) or "none"
        raise ModelMissing(f"there is no model {name} in {directory} (there: {there}); see `steno models list`, then `steno models pull`")
    known = find_known(name)
    raise ModelMissing(f"the model {name} is not in {directory}; run `steno models pull {known.alias if known else name}`")


def list_models(directory: Path) -> list[InstalledModel]:
    """Every model whose manifest can be read, by name."""
    if not directory.is_dir():
        return []
    found = []
    for folder in sorted(directory.iterdir()):
        if not folder.name.startswith(".") and (folder / MANIFEST_FILE).is_file():
            try:
                found.append(InstalledModel(folder, read_manifest(folder)))
            except ModelBroken:
                continue
    return found
