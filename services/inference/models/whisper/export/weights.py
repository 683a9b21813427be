"""A checkpoint's tensors, read one at a time."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from services.inference.models.whisper.architecture import INDEX_FILE, SINGLE_FILE, UnsupportedModel, read_json
from services.inference.pcm import Floats

PREFIX = "model."


class Weights:
    """Tensors by their Hugging Face name without `model.` in front."""

    def __init__(self, files: dict[str, Any], prefix: str = "") -> None:
        self._files = files
        self._prefix = prefix

    def under(self, prefix: str) -> "Weights":
        """The tensors whose names start so, by the rest of their names."""
        return Weights(self._files, f"{self._prefix}{prefix}.")

    def lacks(self, name: str) -> bool:
        """Whether the checkpoint has no such tensor."""
        return self._prefix + name not in self._files

    def __getitem__(self, name: str) -> Floats:
        """The tensor as float32. Raises UnsupportedModel when there is none."""
        full_name = self._prefix + name
        if self.lacks(name):
            raise UnsupportedModel(f"the checkpoint has no tensor {full_name}")
        return np.asarray(self._files[full_name].get_tensor(full_name), np.float32)


@contextmanager
def open_weights(folder: Path) -> Iterator[Weights]:
    """The weights of a model folder; safetensors only, for other formats run code when they are read."""
    with ExitStack() as stack:
        files: dict[str, Any] = {}
        for path in _paths(folder):
            opened = stack.enter_context(safe_open(path, framework="numpy"))
            files.update(dict.fromkeys(opened.keys(), opened))
        yield Weights(files, PREFIX)


def _paths(folder: Path) -> list[Path]:
    if (folder / SINGLE_FILE).is_file():
        return [folder / SINGLE_FILE]
    names = sorted(set(read_json(folder / INDEX_FILE).get("weight_map", {}).values()))
    if any(Path(name).name != name for name in names):
        raise UnsupportedModel(f"{folder / INDEX_FILE} names files outside its folder")
    return [folder / name for name in names]
