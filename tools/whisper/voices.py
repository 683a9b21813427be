"""Who speaks the corpus: flite's voices for English, espeak-ng's accents and variants for both languages."""

import random
from typing import NamedTuple

from tools.whisper.espeak import Espeak, Manner
from tools.whisper.flite import Flite
from tools.whisper.grammar import Language
from tools.whisper.utterance import Speech, stretched

HELD_OUT_FLITE = "rms"
HELD_OUT_VARIANTS = ("f4", "m7", "Michael", "Andrea")
FLITE_SHARE = 0.6

_FLITE = ("slt", "awb", "kal16")
_VARIANTS = ("", "m1", "m2", "m3", "m4", "m6", "m8", "f1", "f2", "f3", "f5", "Alicia", "Annie", "Antonio", "Belinda", "Benjamin", "Gene")
_ACCENTS: dict[Language, tuple[str, ...]] = {"en": ("gmw/en-US", "gmw/en-US", "gmw/en", "gmw/en-GB-x-rp"), "es": ("roa/es", "roa/es-419")}


class Voice(NamedTuple):
    """A synthesizer's name and the voice it knows."""

    synthesizer: str
    name: str


class Speakers:
    """Both synthesizers, ready to speak."""

    def __init__(self) -> None:
        self._espeak = Espeak()
        self._flite = Flite()

    def speak(self, chance: random.Random, voice: Voice, text: str) -> Speech:
        """The text in a voice, at a random rate and pitch."""
        if voice.synthesizer == "flite":
            speech = self._flite.speak(text, voice.name, chance.uniform(0.8, 1.2))
        else:
            speech = self._espeak.speak(text, voice.name, _manner(chance))
        return stretched(speech, chance.uniform(0.9, 1.12))


def _manner(chance: random.Random) -> Manner:
    return Manner(chance.randint(130, 200), chance.randint(25, 75), chance.randint(20, 80), chance.choice((0, 0, 0, 1, 2)))


def choose_voice(chance: random.Random, language: Language, *, held_out: bool) -> Voice:
    """A random voice of the training, or one that training never hears."""
    if language == "en" and (held_out or chance.random() < FLITE_SHARE):
        return Voice("flite", HELD_OUT_FLITE if held_out else chance.choice(_FLITE))
    variant = chance.choice(HELD_OUT_VARIANTS if held_out else _VARIANTS)
    accent = chance.choice(_ACCENTS[language])
    return Voice("espeak", f"{accent}+{variant}" if variant else accent)
