"""How the words of a prompt sound, by the dictionary that the recogniser brings."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

Lookup = Callable[[str], str | None]

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_LETTERS = re.compile(r"[A-Z]{2,5}s?")
_VARIANTS = ("", "(2)", "(3)")
_SHORTEST_WORD = 3
_SHORTEST_PIECE = 3
_MOST_PIECES = 3
_HISSING = {"S", "Z", "SH", "ZH", "CH", "JH"}
_VOICELESS = {"P", "T", "K", "F", "TH"}


@dataclass(frozen=True, slots=True)
class Term:
    """A word of the prompt as it is to be written, and how it may sound: phones parted by spaces."""

    spelling: str
    pronunciations: tuple[str, ...]


def terms(prompt: str, lookup: Lookup) -> Iterator[Term]:
    """Each word of the prompt once that can be pronounced; hyphens part words. lookup: phones of a dictionary entry."""
    spellings = dict.fromkeys(part for word in _WORD.findall(prompt) for part in word.replace("’", "'").split("-"))
    for spelling in spellings:
        if len(spelling) < _SHORTEST_WORD and not spelling.isupper():
            continue
        found = tuple(dict.fromkeys(pronunciations(spelling, lookup)))
        if found:
            yield Term(spelling, found)


def pronunciations(spelling: str, lookup: Lookup) -> Iterator[str]:
    """Phones of a word: as in the dictionary, as letters where it is an abbreviation, else as a plural or a compound of known words."""
    word = spelling.lower()
    known = [phones for variant in _VARIANTS if (phones := lookup(word + variant))]
    yield from known
    if _LETTERS.fullmatch(spelling):
        yield from filter(None, [_spelled_out(spelling, lookup)])
    elif not known:
        yield from filter(None, [_possessive(word, lookup) or _compound(spelling, lookup)])


def _spelled_out(spelling: str, lookup: Lookup) -> str | None:
    letters = [lookup(f"{letter}.") or lookup(letter) for letter in spelling.removesuffix("s").lower()]
    if not all(letters):
        return None
    phones = " ".join(filter(None, letters))
    return _with_s(phones) if spelling.endswith("s") else phones


def _possessive(word: str, lookup: Lookup) -> str | None:
    stem = word.removesuffix("s").removesuffix("'")
    phones = lookup(stem) if word.endswith("s") else None
    return _with_s(phones) if phones else None


def _with_s(phones: str) -> str:
    last = phones.split()[-1]
    return f"{phones} {'IH Z' if last in _HISSING else 'S' if last in _VOICELESS else 'Z'}"


def _compound(spelling: str, lookup: Lookup) -> str | None:
    """PocketSphinx is a pocket and a sphinx: split at its capitals, else into as few known words as do."""
    parts = [lookup(part.lower()) for part in _PART.findall(spelling)]
    if len(parts) > 1 and all(parts):
        return " ".join(filter(None, parts))
    pieces = _pieces(spelling.lower(), lookup)
    return " ".join(pieces) if pieces else None


def _pieces(word: str, lookup: Lookup) -> tuple[str, ...] | None:
    @cache
    def split(start: int, most: int) -> tuple[str, ...] | None:
        rest = lookup(word[start:])
        if rest and len(word) - start >= _SHORTEST_PIECE:
            return (rest,)
        found: list[tuple[str, ...]] = []
        for end in range(start + _SHORTEST_PIECE, len(word) - _SHORTEST_PIECE + 1) if most > 1 else ():
            head, tail = lookup(word[start:end]), None
            if head:
                tail = split(end, most - 1)
            if head and tail:
                found.append((head, *tail))
        return min(found, key=len, default=None)

    return split(0, _MOST_PIECES)
