"""Makes the fork server load all that children will need: once confined, they can open no file to import."""

import importlib
import pkgutil
import tempfile
import wave

import av

from services.media.descriptor import DescriptorReader
from services.media.measure import measure
from services.media.transcode import SAMPLE_RATE_HZ, transcode

# Scripts that import what is not installed, or that only serve PyAV's own examples.
UNUSED = frozenset({"av.__main__", "av.datasets"})
REHEARSAL_MS = 100


def rehearse() -> None:
    """Import every module of PyAV, whose C code imports some of them on first use, and run both tasks once."""
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if module.name not in UNUSED:
            importlib.import_module(module.name)
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as pcm:
        with wave.open(source, "wb") as writer:
            writer.setparams((2, 2, SAMPLE_RATE_HZ // 2, 0, "NONE", ""))
            writer.writeframes(bytes(4 * SAMPLE_RATE_HZ // 2 * REHEARSAL_MS // 1000))
        source.flush()
        reader = DescriptorReader(source.fileno())
        measure(print, reader, max_duration_ms=REHEARSAL_MS)
        transcode(print, reader, pcm.fileno(), max_duration_ms=REHEARSAL_MS)
