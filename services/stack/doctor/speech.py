"""Checks of what handles audio: PyAV's formats, the sandbox, the models."""

import asyncio
import io
import tempfile
from pathlib import Path
from typing import Any, cast

from services.stack.doctor.findings import Finding, ok, problem, warning

_INSTALL = "install Steno with its inference and storage parts: steno[all]"
# What each container is written with: format, codec, sample rate in Hz.
_FORMS = {
    "wav": ("wav", "pcm_s16le", 16_000),
    "flac": ("flac", "flac", 16_000),
    "mp3": ("mp3", "libmp3lame", 44_100),
    "ogg": ("ogg", "libopus", 48_000),
    "mp4": ("mp4", "aac", 44_100),
    "mov": ("mov", "aac", 44_100),
    "webm": ("webm", "libopus", 48_000),
    "matroska": ("matroska", "aac", 44_100),
}
_MAX_DURATION_MS = 60_000
_FRAMES = 40
_FRAME_SAMPLES = 960


def check_formats() -> Finding:
    """This build of PyAV knows every container and codec that Steno accepts."""
    try:
        import av

        from services.media.formats import DECODERS, DEMUXERS
    except ImportError as error:
        return problem(f"PyAV does not load: {error}", _INSTALL)
    containers = [name for name in DEMUXERS if not _knows(av.format.ContainerFormat, name)]
    codecs = [name for name in DECODERS if not _knows(av.codec.Codec, name)]
    if containers:
        return problem(f"PyAV {av.__version__} lacks the containers {', '.join(containers)}", "install the av package again")
    if codecs:
        return warning(
            f"PyAV {av.__version__} lacks the codecs {', '.join(codecs)}", "files with them are refused; install another build of av"
        )
    return ok(f"PyAV {av.__version__} knows {len(DEMUXERS)} containers and {len(DECODERS)} codecs")


def _knows(kind: Any, name: str) -> bool:
    try:
        kind(name, "r")
    except ValueError:
        return False
    return True


def check_sandbox() -> Finding:
    """A confined child reads one recording of each kind, and refuses a text."""
    from services.media.errors import MediaError, SandboxUnavailable

    try:
        wrong = asyncio.run(_rehearse())
    except (SandboxUnavailable, MediaError) as error:
        return problem(f"the sandbox for hostile files does not work here: {error}", "run on Linux 5.13 or newer with seccomp allowed")
    if wrong:
        return problem(f"the sandbox misread {', '.join(wrong)}", "install the av package again")
    return ok(f"the sandbox reads {', '.join(_FORMS)} and refuses a text")


async def _rehearse() -> list[str]:
    """The forms that were not read as what they are."""
    from services.media.errors import UnsupportedMedia
    from services.media.sandbox import open_sandbox

    async with open_sandbox() as sandbox:
        wrong = [name for name, form in _FORMS.items() if await _container(sandbox, _write_tone(*form)) != name]
        try:
            await _container(sandbox, b"no recording\n" * 100)
        except UnsupportedMedia:
            return wrong
    return [*wrong, "a text"]


async def _container(sandbox: Any, content: bytes) -> str:
    from services.media.probe import probe

    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        return (await probe(sandbox, file.fileno(), _MAX_DURATION_MS)).container


def _write_tone(container: str, codec: str, sample_rate_hz: int) -> bytes:
    import av
    import numpy as np

    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = cast(av.AudioStream, output.add_stream(codec, rate=sample_rate_hz))
        for number in range(_FRAMES):
            phase = np.arange(number * _FRAME_SAMPLES, (number + 1) * _FRAME_SAMPLES) * (2 * np.pi * 440 / sample_rate_hz)
            samples = (8_000 * np.sin(phase)).astype(np.int16).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts = sample_rate_hz, number * _FRAME_SAMPLES
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


def check_vad() -> Finding:
    """onnxruntime loads the voice activity model and runs it."""
    try:
        import numpy as np
        import onnxruntime

        from services.inference.models.session import open_session
        from services.inference.models.vad import MODEL_PATH, SileroVad
        from services.inference.models.vad_state import VadState
    except ImportError as error:
        return problem(f"the speech models' packages do not load: {error}", _INSTALL)
    if not MODEL_PATH.is_file():
        return problem(f"{MODEL_PATH} is missing", "install Steno again")
    probabilities, _ = SileroVad(open_session(MODEL_PATH)).speech_probabilities(np.zeros(16_000, np.int16), VadState())
    if not len(probabilities) or float(probabilities.max()) > 0.5:
        return problem("the voice activity model hears speech in silence", "install the onnxruntime package again")
    return ok(f"onnxruntime {onnxruntime.__version__} runs the voice activity model")


def check_training() -> Finding:
    """The packages that train detectors are there; a machine without them runs detectors all the same."""
    from services.inference.settings import missing_for_training

    if missing := missing_for_training():
        return warning(f"detectors cannot be trained here: {', '.join(missing)} is missing", "install steno[training] where they shall be")
    return ok("detectors can be trained here, with JAX on the processor")


def check_engine() -> Finding:
    """The bundled engine's files are there."""
    try:
        import pocketsphinx

        from services.inference.models import speaker, vad
    except ImportError as error:
        return problem(f"the bundled engine does not load: {error}", _INSTALL)
    needed = [vad.MODEL_PATH, speaker.MODEL_PATH, Path(pocketsphinx.get_model_path()) / "en-us" / "en-us" / "mdef"]
    missing = [str(path) for path in needed if not path.is_file()]
    if missing:
        return problem(f"files of the bundled engine are missing: {', '.join(missing)}", _INSTALL)
    return ok("the bundled English demo engine (PocketSphinx) is complete")
