"""How English words sound that no dictionary has: rules from letters in their context to phones.

Written by tools/models/learn_letters.py from the CMU dictionary in the pocketsphinx wheel.
"""

import unicodedata
from collections.abc import Mapping
from pathlib import Path

RULES_PATH = Path(__file__).parent / "data" / "letters_en.tsv"
# How many letters before and after decide, from narrow to wide; each holds the one before it.
CONTEXTS = ((0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 3), (3, 3), (3, 4), (4, 4))
_EDGE = "####"


class LetterSounds:
    """The rules of one language."""

    def __init__(self, rules: Mapping[str, str]) -> None:
        self._rules = rules

    def pronounce(self, word: str) -> str | None:
        """Phones parted by spaces; None for a word with other letters than Latin ones. Accents do not count."""
        letters = _plain_letters(word)
        if not letters:
            return None
        line = padded(letters)
        sounds = [apply_rules(self._rules, line, place, len(CONTEXTS)) for place in range(len(letters))]
        return " ".join(filter(None, sounds)) or None


def _plain_letters(word: str) -> str:
    base = "".join(character for character in unicodedata.normalize("NFKD", word.casefold()) if not unicodedata.combining(character))
    return base if base.isascii() and base.isalpha() else ""


def padded(word: str) -> str:
    """The word between the edges that contexts reach into."""
    return f"{_EDGE}{word}{_EDGE}"


def context_of(line: str, place: int, width: int) -> str:
    """The letter at a place of a padded word, in upper case, between its neighbours."""
    before, after = CONTEXTS[width]
    at = place + len(_EDGE)
    return f"{line[at - before : at]}{line[at].upper()}{line[at + 1 : at + 1 + after]}"


def apply_rules(rules: Mapping[str, str], line: str, place: int, widths: int) -> str | None:
    """What the widest of the first `widths` contexts says; None where none does."""
    for width in reversed(range(widths)):
        if (sound := rules.get(context_of(line, place, width))) is not None:
            return sound
    return None


def load_letter_sounds(path: Path = RULES_PATH) -> LetterSounds:
    """The rules carried with the package."""
    lines = path.read_text(encoding="ascii").splitlines()
    return LetterSounds({context: phones for context, _, phones in (line.partition("\t") for line in lines)})
