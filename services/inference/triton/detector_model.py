"""A trained detector: scores of minutes of features."""

import numpy as np

from services.detection.features import FEATURE_COUNT
from services.inference.models.detector import DetectorModel
from services.inference.triton.host import RowsApart
from services.inference.triton.parameters import Parameters
from services.inference.triton.wire import DETECTOR_FILE, Arrays, decode_features, encode_scores

_WARM_FRAMES = 100


def open_detector(parameters: Parameters) -> RowsApart:
    """The ONNX file beside the model's program, warm."""
    detector = DetectorModel(parameters.folder / DETECTOR_FILE)
    detector.score(np.zeros((_WARM_FRAMES, FEATURE_COUNT), np.float16))

    def answer(inputs: Arrays) -> Arrays:
        return encode_scores(detector.artifact_types, detector.score(decode_features(inputs, FEATURE_COUNT)))

    return RowsApart(answer, threads=1)
