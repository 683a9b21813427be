"""Speech with word and phone times from libespeak-ng, in this process.

Declarations and numbers follow espeak-ng's header `speak_lib.h`.
"""

import bisect
import ctypes
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.signal import resample_poly

from tools.whisper.utterance import SAMPLE_RATE_HZ, Span, Speech, Waveform

_SYNCHRONOUS = 2
_PHONEME_EVENTS = 1
_POS_CHARACTER = 1
_CHARS_UTF8 = 1
_RATE, _PITCH, _RANGE, _WORD_GAP = 1, 3, 4, 7
_LIST_TERMINATED, _WORD, _PHONEME = 0, 1, 7
_PAUSES = frozenset({"", "_", "_:"})


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Manner(NamedTuple):
    """How a voice speaks: words a minute, pitch and its range (0-100), pause between words in 10 ms."""

    words_per_minute: int
    pitch: int
    pitch_range: int
    gap: int


class Espeak:
    """The synthesizer; the library keeps one state per process, so one instance per process."""

    def __init__(self) -> None:
        self._lib = ctypes.CDLL("libespeak-ng.so.1")
        self._rate_hz: int = self._lib.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS)
        if self._rate_hz <= 0:
            raise OSError("espeak-ng finds no voices")
        self._chunks: list[Waveform] = []
        self._word_starts: dict[int, float] = {}
        self._phone_starts: list[tuple[float, str]] = []
        self._callback = _Callback(self._collect)  # the library holds no reference of its own
        self._lib.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, voice: str, manner: Manner) -> Speech:
        """A sentence in a voice such as `en-us+f2`. Raises ValueError for a voice that is not installed."""
        self._chunks, self._word_starts, self._phone_starts = [], {}, []
        if self._lib.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice}")
        for parameter, value in zip((_RATE, _PITCH, _RANGE, _WORD_GAP), manner, strict=True):
            self._lib.espeak_SetParameter(parameter, value, 0)
        encoded = text.encode() + b"\0"
        self._lib.espeak_Synth(encoded, len(encoded), 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None)
        samples = self._resampled()
        return Speech(samples, self._words(text, len(samples) / SAMPLE_RATE_HZ), self._phones())

    def _collect(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, events: "ctypes._Pointer[_Event]") -> int:
        if samples and count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).astype(np.float32) / np.float32(32_768))
        place = 0
        while (event := events[place]).type != _LIST_TERMINATED:
            place += 1
            if event.type == _WORD:
                self._word_starts[event.text_position - 1] = event.sample / self._rate_hz
            elif event.type == _PHONEME:
                self._phone_starts.append((event.sample / self._rate_hz, event.id.string.decode("utf-8", "replace")))
        return 0

    def _resampled(self) -> Waveform:
        divisor = int(np.gcd(SAMPLE_RATE_HZ, self._rate_hz))
        speech = np.concatenate(self._chunks)
        resampled: Waveform = resample_poly(speech, SAMPLE_RATE_HZ // divisor, self._rate_hz // divisor).astype(np.float32)
        return resampled

    def _phones(self) -> list[Span]:
        ends = [start for start, _ in self._phone_starts[1:]]
        timed = zip(self._phone_starts, ends, strict=False)
        return [Span(name, start, end) for (start, name), end in timed if name not in _PAUSES and end > start]

    def _words(self, text: str, seconds: float) -> list[Span]:
        """The words at the spaces of the text; each ends where the next one or a pause begins."""
        texts = text.split()
        starts = _filled(_starts(texts, self._word_starts), seconds)
        pauses = [start for start, name in self._phone_starts if name in _PAUSES]
        limits = [*starts[1:], seconds]
        return [Span(word, start, _first_between(pauses, start, limit)) for word, start, limit in zip(texts, starts, limits, strict=True)]


def _starts(texts: list[str], heard: Mapping[int, float]) -> list[float | None]:
    """Where each word began; None where espeak-ng joined it to the word before ('in the')."""
    found: list[float | None] = []
    place = 0
    for text in texts:
        found.append(heard.get(place, heard.get(place + 1)))
        place += len(text) + 1
    return found


def _filled(starts: list[float | None], seconds: float) -> list[float]:
    known = [place for place, start in enumerate(starts) if start is not None]
    times = [start for start in starts if start is not None]
    return [float(time) for time in np.interp(range(len(starts)), [*known, len(starts)], [*times, seconds])]


def _first_between(pauses: list[float], start: float, limit: float) -> float:
    place = bisect.bisect_right(pauses, start)
    return min(pauses[place], limit) if place < len(pauses) else limit
