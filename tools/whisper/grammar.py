"""Sentences of a small office domain in English and Spanish, and the share of them never heard in training."""

import hashlib
import random
import re
from collections.abc import Mapping
from typing import Literal

from tools.whisper.lexicon import ENGLISH, SPANISH, Words

Language = Literal["en", "es"]

LANGUAGES: tuple[Language, ...] = ("en", "es")
HELD_OUT_SHARE = 0.08
_SLOT = re.compile(r"{(\w+)}")

_ENGLISH_TEMPLATES: Words = (
    "Good morning, {name}.",
    "Thank you very much, {name}.",
    "Hello, this is {name} from the {place} in {city}.",
    "Could you {act} the {paper} before {day}, {name}?",
    "Please {act} the {paper} {when}.",
    "{name} will {act} the {quality} {paper} {when}.",
    "{name} and {name} are going to {act} the {paper} on {day}.",
    "We have {number} {things} in the {place}.",
    "Last {month} we sold {number} {things} in {city}.",
    "We need {number} more {color} {things} for the {place}.",
    "The {color} {thing} is in the {place}.",
    "Where is the {color} {thing}, {name}?",
    "I think the {thing} is {quality}, but the {paper} is {quality}.",
    "The meeting with {name} starts at {hour} on {day}.",
    "The train from {city} to {city} leaves at {hour}.",
    "I will be in {city} on {day} and in {city} on {day}.",
    "The {place} opens at {hour} and closes at {hour}.",
    "My number is {number}, {number}, {number}.",
    "The {thing} costs {number} dollars.",
    "Sales went up {number} percent in {month}.",
    "There are {number} people in the {place} {when}.",
    "The customer from {city} wants to {act} the {paper}.",
    "No, the {thing} is {color}, not {color}.",
    "Yes, I can {act} the {paper} {when}.",
    "Did you {act} the {paper} about the {color} {things}?",
    "{name} has the {paper} for {month} and {month}.",
    "Let us meet in the {place} at {hour}, {name}.",
    "They want {number} {things} and {number} {things} by {day}.",
)

_SPANISH_TEMPLATES: Words = (
    "Buenos días, {name}.",
    "Muchas gracias, {name}.",
    "Hola, soy {name} y llamo desde {place} de {city}.",
    "¿Puedes {act} {paper} antes del {day}, {name}?",
    "Por favor, hay que {act} {paper} {when}.",
    "{name} va a {act} {paper} {when}.",
    "{name} y {name} van a {act} {paper} el {day}.",
    "Tenemos {number} {things} en {place}.",
    "En {month} vendimos {number} {things} en {city}.",
    "Necesitamos {number} {things} más para {place}.",
    "Creo que {thing} {color} está en {place}.",
    "¿Dónde está {thing} {color}, {name}?",
    "Para mí, {paper} es muy {quality}.",
    "La reunión con {name} empieza a las {hour} el {day}.",
    "El tren de {city} a {city} sale a las {hour}.",
    "Estaré en {city} el {day} y en {city} el {day}.",
    "Mi número es {number}, {number}, {number}.",
    "Sabemos que {thing} cuesta {number} euros.",
    "Las ventas subieron un {number} por ciento en {month}.",
    "Hay {number} personas en {place} {when}.",
    "El cliente de {city} quiere {act} {paper}.",
    "No, {thing} es {color}, no {color}.",
    "Sí, puedo {act} {paper} {when}.",
    "{name} tiene {paper} de {month} y {month}.",
    "Quieren {number} {things} y {number} {things} para el {day}.",
)

_GRAMMARS: Mapping[Language, tuple[Words, Mapping[str, Words]]] = {
    "en": (_ENGLISH_TEMPLATES, ENGLISH),
    "es": (_SPANISH_TEMPLATES, SPANISH),
}


def sentence(chance: random.Random, language: Language) -> str:
    """A random sentence; no word fills two slots of it."""
    templates, lexicon = _GRAMMARS[language]
    used: set[str] = set()

    def fill(slot: re.Match[str]) -> str:
        word = chance.choice([word for word in lexicon[slot[1]] if word not in used])
        used.add(word)
        return word

    return _SLOT.sub(fill, chance.choice(templates))


def vocabulary(language: Language) -> set[str]:
    """Every word the language's sentences can hold, as `bare` gives it."""
    templates, lexicon = _GRAMMARS[language]
    lines = [_SLOT.sub(" ", template) for template in templates] + [word for words in lexicon.values() for word in words]
    return {bare(word) for line in lines for word in line.split()} - {""}


def bare(word: str) -> str:
    """A word in lower case without the punctuation around it."""
    return word.strip(",.?¿").lower()


def is_held_out(text: str) -> bool:
    """Whether a sentence belongs to the evaluation, decided by its own digest."""
    return hashlib.sha256(text.encode()).digest()[0] < HELD_OUT_SHARE * 256


def fresh_sentence(chance: random.Random, language: Language, *, held_out: bool) -> str:
    """A random sentence of the training share, or of the held-out one."""
    while True:
        text = sentence(chance, language)
        if is_held_out(text) == held_out:
            return text
