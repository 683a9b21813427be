"""A process of the local engine: reads calls on stdin, runs a model, writes replies on stdout.

Started by `local_pool`; messages come from our own process only.
"""

import os
import pickle
import signal
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from services.inference.engines.engine import DetectorScores, WindowParameters
from services.inference.engines.messages import LENGTH, WhisperSetup, encode
from services.inference.models.detector import DetectorModel
from services.inference.models.pocketsphinx import PocketSphinxModel, load_pocketsphinx
from services.inference.models.speaker import SpeakerEncoder, load_speaker_encoder
from services.inference.models.vad import SileroVad, load_vad
from services.inference.models.vad_state import VadState
from services.inference.models.whisper.model import WhisperModel, WhisperRequest, WhisperSettings, load_whisper
from services.inference.models.whisper.prompts import Task
from services.inference.pcm import Features, Floats, Pcm
from services.inference.tether import die_with
from services.inference.transcript import WindowResult

NICENESS = 10
MOST_DETECTORS = 4


class Models:
    """The models of one process, each loaded by the first call that needs it."""

    def __init__(self) -> None:
        self._whispers: dict[WhisperSetup, WhisperModel] = {}
        self._detectors: dict[str, DetectorModel] = {}

    @cached_property
    def _vad(self) -> SileroVad:
        return load_vad()

    @cached_property
    def _encoder(self) -> SpeakerEncoder:
        return load_speaker_encoder()

    @cached_property
    def _recogniser(self) -> PocketSphinxModel:
        return load_pocketsphinx()

    def transcribe(self, pcm: Pcm, prompt: str) -> WindowResult:
        """See PocketSphinxModel."""
        return self._recogniser.transcribe(pcm, prompt)

    def transcribe_whisper(self, setup: WhisperSetup, pcm: Pcm, parameters: WindowParameters) -> WindowResult:
        """See WhisperModel."""
        task = Task(parameters.language, translate=parameters.translate, hotwords=", ".join(parameters.hotwords), text=parameters.prompt)
        (result,) = self._whisper(setup).transcribe([WhisperRequest(pcm, task, parameters.temperature or 0.0)])
        return result.window

    def _whisper(self, setup: WhisperSetup) -> WhisperModel:
        if setup not in self._whispers:
            settings = WhisperSettings(beams=setup.beams)
            self._whispers[setup] = load_whisper(Path(setup.folder), setup.precision, threads=setup.threads, settings=settings)
        return self._whispers[setup]

    def speech_probabilities(self, pcm: Pcm, state: VadState) -> tuple[Floats, VadState]:
        """See SileroVad."""
        return self._vad.speech_probabilities(pcm, state)

    def embed(self, pcm: Pcm, spans: Sequence[tuple[int, int]], gain: float) -> Floats:
        """See SpeakerEncoder."""
        return self._encoder.embed(pcm, spans, gain)

    def detect(self, path: str, features: Features) -> DetectorScores:
        """See DetectorModel. A file of that path never changes; those used last stay loaded."""
        model = self._detectors.pop(path, None) or DetectorModel(Path(path))
        self._detectors[path] = model
        if len(self._detectors) > MOST_DETECTORS:
            del self._detectors[next(iter(self._detectors))]
        return DetectorScores(tuple(model.artifact_types), model.score(features))

    def ping(self) -> int:
        """The id of the process: proof that it answers."""
        return os.getpid()


def calls_of(models: Models) -> dict[str, Callable[..., Any]]:
    """The calls that a process answers, by name."""
    return {
        "transcribe": models.transcribe,
        "transcribe_whisper": models.transcribe_whisper,
        "speech_probabilities": models.speech_probabilities,
        "embed": models.embed,
        "detect": models.detect,
        "ping": models.ping,
    }


def serve(calls: dict[str, Callable[..., Any]], requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer until the requests end. A reply is (True, result) or (False, what went wrong)."""
    while header := requests.read(LENGTH.size):
        name, arguments = pickle.loads(requests.read(LENGTH.unpack(header)[0]))  # noqa: S301 (our parent wrote it)
        try:
            reply = (True, calls[name](*arguments))
        except Exception as error:
            reply = (False, f"{type(error).__name__}: {error}")
        replies.write(encode(reply))
        replies.flush()


def main() -> None:
    """Serve the parent named by the only argument, below the priority of the control plane."""
    die_with(int(sys.argv[1]))
    # Ctrl-C reaches the whole group; the parent decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    # Native code prints to descriptor 1 at will: replies get one of their own.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(calls_of(Models()), sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()
