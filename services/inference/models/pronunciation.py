"""How the words of a prompt sound: by the recogniser's dictionary, and by rule where it has none."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Pronounce = Callable[[str], str | None]

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_LETTERS = re.compile(r"[A-Z]{2,5}s?")
_VARIANTS = ("", "(2)", "(3)")
_SHORTEST_WORD = 3
_HISSING = {"S", "Z", "SH", "ZH", "CH", "JH"}
_VOICELESS = {"P", "T", "K", "F", "TH"}


@dataclass(frozen=True, slots=True)
class Term:
    """A word of the prompt as it is to be written, and how it may sound: phones parted by spaces."""

    spelling: str
    pronunciations: tuple[str, ...]


def terms(prompt: str, lookup: Pronounce, guess: Pronounce) -> Iterator[Term]:
    """Each word of the prompt once that can be pronounced; hyphens part words.

    lookup: phones of a dictionary entry; guess: of any other word.
    """
    spellings = dict.fromkeys(part for word in _WORD.findall(prompt) for part in word.replace("’", "'").split("-"))
    for spelling in spellings:
        if len(spelling) < _SHORTEST_WORD and not spelling.isupper():
            continue
        found = tuple(dict.fromkeys(pronunciations(spelling, lookup, guess)))
        if found:
            yield Term(spelling, found)


def pronunciations(spelling: str, lookup: Pronounce, guess: Pronounce) -> Iterator[str]:
    """Phones of a word: as in the dictionary, as letters where it is an abbreviation, else by its stem, its parts or its letters."""
    word = spelling.lower()
    known = [phones for variant in _VARIANTS if (phones := lookup(word + variant))]
    yield from known
    if _LETTERS.fullmatch(spelling):
        yield from filter(None, [_spelled_out(spelling, lookup)])
    elif not known:
        yield from filter(None, [_possessive(word, lookup) or _in_parts(spelling, lookup, guess)])


def _spelled_out(spelling: str, lookup: Pronounce) -> str | None:
    letters = [lookup(f"{letter}.") or lookup(letter) for letter in spelling.removesuffix("s").lower()]
    if not all(letters):
        return None
    phones = " ".join(filter(None, letters))
    return _with_s(phones) if spelling.endswith("s") else phones


def _possessive(word: str, lookup: Pronounce) -> str | None:
    stem = word.removesuffix("s").removesuffix("'")
    phones = lookup(stem) if word.endswith("s") else None
    return _with_s(phones) if phones else None


def _with_s(phones: str) -> str:
    last = phones.split()[-1]
    return f"{phones} {'IH Z' if last in _HISSING else 'S' if last in _VOICELESS else 'Z'}"


def _in_parts(spelling: str, lookup: Pronounce, guess: Pronounce) -> str | None:
    """PocketSphinx is a pocket and a sphinx: capitals begin parts."""
    parts = _PART.findall(spelling)
    if "".join(parts) != spelling or any(len(part) < _SHORTEST_WORD for part in parts):
        parts = [spelling.replace("'", "")]
    sounds = [lookup(part.lower()) or guess(part) for part in parts]
    return " ".join(filter(None, sounds)) if all(sounds) else None
