"""Detectors that people trained: an ONNX graph that scores frames, and what its metadata says of it."""

import json
from pathlib import Path

import numpy as np
import onnxruntime

from services.detection.features import FEATURE_COUNT, FRAME_MS, VERSION, Features
from services.inference.models.session import open_session
from services.inference.pcm import Floats

PIECE_FRAMES = 3_000


class ForeignDetector(ValueError):
    """The file is no detector, or one for features of another version."""


class DetectorModel:
    """One onnxruntime session; safe to use for many files in turn.

    artifact_types: what it finds, in the order of its scores. Raises ForeignDetector.
    """

    def __init__(self, path: Path) -> None:
        self._session = _opened(path)
        facts = self._session.get_modelmeta().custom_metadata_map
        if (facts.get("features_version"), facts.get("frame_ms")) != (str(VERSION), str(FRAME_MS)):
            raise ForeignDetector("it was trained on features of another version")
        self.artifact_types: list[str] = json.loads(facts["artifact_types"])
        self._context: int = json.loads(facts["context_frames"])

    def score(self, features: Features | Floats) -> Floats:
        """How sure it is of each type in each frame; 0.5 is the type's own threshold.

        features: (frames, FEATURE_COUNT) float16 or float32, may be a memmap. Returns (frames, types) float32 in 0..1. Hours go
        through in pieces that overlap by what a frame hears, so that no score depends on where they are cut.
        """
        if features.ndim != 2 or features.shape[1] != FEATURE_COUNT:
            raise ForeignDetector(f"features are (frames, {FEATURE_COUNT}), not {features.shape}")
        scores = np.empty((len(features), len(self.artifact_types)), np.float32)
        for start in range(0, len(features), PIECE_FRAMES):
            end = min(len(features), start + PIECE_FRAMES)
            first, last = max(0, start - self._context), min(len(features), end + self._context)
            piece = np.asarray(features[first:last], np.float32)[None]
            scores[start:end] = self._session.run(["scores"], {"features": piece})[0][0, start - first : end - first]
        return scores


def _opened(path: Path) -> onnxruntime.InferenceSession:
    try:
        return open_session(path)
    except Exception as error:  # onnxruntime's own classes share no other base.
        raise ForeignDetector("it is no ONNX graph that runs here") from error
