"""Speech with word and phone times from libflite 2, in this process.

Declarations follow flite's headers `cst_voice.h`, `cst_wave.h` and `cst_utterance.h`.
"""

import ctypes
from collections.abc import Iterator

import numpy as np

from tools.whisper.utterance import SAMPLE_RATE_HZ, Span, Speech

VOICES = ("slt", "rms", "awb", "kal16")
_SILENCE = "pau"
_TOKEN = b"R:Token.parent.name"
_WORD_START = b"R:SylStructure.daughter1.daughter1.R:Segment.p.end"
_WORD_END = b"R:SylStructure.daughtern.daughtern.R:Segment.end"


class _Wave(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


class _Voice(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("features", ctypes.c_void_p))


class Flite:
    """The synthesizer and its voices; not for more than one thread."""

    def __init__(self) -> None:
        self._lib = _library()
        self._voices = {name: _voice(name) for name in VOICES}

    def speak(self, text: str, voice: str, stretch: float) -> Speech:
        """A sentence in a voice, `stretch` times as long as the voice alone would speak it.

        Raises ValueError when the voice splits the text into other words than its spaces do.
        """
        pointer = self._voices[voice]
        self._lib.flite_feat_set_float(pointer.contents.features, b"duration_stretch", stretch)
        utterance = self._lib.flite_synth_text(text.encode(), pointer)
        try:
            return self._speech(utterance, text)
        finally:
            self._lib.delete_utterance(utterance)

    def _speech(self, utterance: int, text: str) -> Speech:
        wave = self._lib.utt_wave(utterance).contents
        if wave.sample_rate != SAMPLE_RATE_HZ:
            raise ValueError(f"this voice speaks at {wave.sample_rate} Hz")
        samples = np.ctypeslib.as_array(wave.samples, (wave.num_samples,)).astype(np.float32) / np.float32(32_768)
        return Speech(samples, self._words(utterance, text.split()), self._phones(utterance))

    def _words(self, utterance: int, texts: list[str]) -> list[Span]:
        items = self._items(utterance, b"Word")
        spans = [Span(self._text(item, _TOKEN), self._number(item, _WORD_START), self._number(item, _WORD_END)) for item in items]
        if len(spans) != len(texts):
            raise ValueError(f"{len(spans)} words were spoken for {texts}")
        return [Span(text, span.start, span.end) for text, span in zip(texts, spans, strict=True)]

    def _phones(self, utterance: int) -> list[Span]:
        spans: list[Span] = []
        end = 0.0
        for item in self._items(utterance, b"Segment"):
            start, end = end, self._number(item, b"end")
            spans.append(Span(self._text(item, b"name"), start, end))
        return [span for span in spans if span.text != _SILENCE]

    def _items(self, utterance: int, relation: bytes) -> Iterator[int]:
        item = self._lib.relation_head(self._lib.utt_relation(utterance, relation))
        while item:
            yield item
            item = self._lib.item_next(item)

    def _text(self, item: int, path: bytes) -> str:
        found: bytes = self._lib.ffeature_string(item, path)
        return found.decode()

    def _number(self, item: int, path: bytes) -> float:
        return float(self._lib.ffeature_float(item, path))


def _library() -> ctypes.CDLL:
    lib = ctypes.CDLL("libflite.so.1", mode=ctypes.RTLD_GLOBAL)
    for part in ("usenglish", "cmulex"):
        ctypes.CDLL(f"libflite_{part}.so.1", mode=ctypes.RTLD_GLOBAL)
    lib.flite_init()
    signatures: dict[str, tuple[object, ...]] = {
        "flite_synth_text": (ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(_Voice)),
        "flite_feat_set_float": (None, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_float),
        "utt_wave": (ctypes.POINTER(_Wave), ctypes.c_void_p),
        "utt_relation": (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p),
        "relation_head": (ctypes.c_void_p, ctypes.c_void_p),
        "item_next": (ctypes.c_void_p, ctypes.c_void_p),
        "ffeature_string": (ctypes.c_char_p, ctypes.c_void_p, ctypes.c_char_p),
        "ffeature_float": (ctypes.c_float, ctypes.c_void_p, ctypes.c_char_p),
        "delete_utterance": (None, ctypes.c_void_p),
    }
    for name, (result, *arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


def _voice(name: str) -> "ctypes._Pointer[_Voice]":
    register = getattr(ctypes.CDLL(f"libflite_cmu_us_{name}.so.1", mode=ctypes.RTLD_GLOBAL), f"register_cmu_us_{name}")
    register.restype, register.argtypes = ctypes.POINTER(_Voice), [ctypes.c_void_p]
    pointer: ctypes._Pointer[_Voice] = register(None)
    return pointer
