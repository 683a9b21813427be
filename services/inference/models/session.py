"""How every ONNX model of the service is opened."""

from pathlib import Path

import onnxruntime

ERRORS_ONLY = 3


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """A CPU session on one thread: the pool runs one process per core, more threads would fight."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    return onnxruntime.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])
