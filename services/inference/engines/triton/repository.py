"""Detectors in the directory that Triton serves models from: each a folder that is there only when it is whole."""

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from services.detection.features import FEATURE_COUNT
from services.inference.engines.engine import StoredDetector
from services.inference.triton.wire import DETECTOR_FILE
from services.mesh.ids import new_id

PREFIX = "detector-"
_UNFINISHED = ".unfinished-"
_LEFT_SECONDS = 3_600.0
_CONFIG = f"""\
# A trained detector; its requests are in services/inference/triton/wire.py. Written, and removed when unused, by the inference service.
backend: "python"
max_batch_size: 0
input [
  {{ name: "FEATURES" data_type: TYPE_FP16 dims: [ -1, {FEATURE_COUNT} ] }}
]
output [
  {{ name: "SCORES" data_type: TYPE_FP32 dims: [ -1, -1 ] }},
  {{ name: "ARTIFACT_TYPES" data_type: TYPE_STRING dims: [ 1 ] }}
]
dynamic_batching {{
  default_queue_policy {{
    timeout_action: REJECT default_timeout_microseconds: 120000000 allow_timeout_override: true max_queue_size: 64
  }}
}}
"""
_MODEL = '''\
"""A trained detector: where artefacts are."""

from services.inference.triton.backend import ServedModel
from services.inference.triton.detector_model import open_detector


class TritonPythonModel(ServedModel):
    """The class that Triton looks for."""

    open = staticmethod(open_detector)
'''


class DetectorRepository:
    """The detectors of one directory, which other processes may write to as well."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def name(self, detector: StoredDetector) -> str:
        """What its model is called."""
        return f"{PREFIX}{detector.id}"

    def put(self, detector: StoredDetector) -> None:
        """Have the detector there."""
        target = self._folder / self.name(detector)
        if not target.is_dir():
            self._write(detector, target)

    def touch(self, name: str) -> None:
        """Mark a model as used now, unless another process has just removed it."""
        with suppress(FileNotFoundError):
            os.utime(self._folder / name)

    def _write(self, detector: StoredDetector, target: Path) -> None:
        unfinished = self._folder / f"{_UNFINISHED}{new_id()}"
        try:
            (unfinished / "1").mkdir(parents=True)
            (unfinished / "config.pbtxt").write_text(_CONFIG)
            (unfinished / "1" / "model.py").write_text(_MODEL)
            shutil.copyfile(detector.path, unfinished / "1" / DETECTOR_FILE)
            unfinished.rename(target)
        except OSError:
            # Another process may have been faster: a detector's content never changes.
            if not target.is_dir():
                raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def names(self) -> Sequence[str]:
        """Of all models there, those used last first."""
        return [path.name for path in sorted(self._folder.glob(f"{PREFIX}*"), key=_used_at, reverse=True)]

    def remove(self, name: str) -> None:
        """Take a model away, whole at once."""
        gone = self._folder / f"{_UNFINISHED}{new_id()}"
        try:
            (self._folder / name).rename(gone)
        except FileNotFoundError:
            return
        shutil.rmtree(gone, ignore_errors=True)

    def tidy(self) -> None:
        """Make the directory where it is missing, and remove what killed processes left."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in self._folder.glob(f"{_UNFINISHED}*"):
            if time.time() - _used_at(path) > _LEFT_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


def _used_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
