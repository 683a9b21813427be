"""How the words of a prompt sound."""

import pytest

from services.inference.models.letters import load_letter_sounds
from services.inference.models.pronunciation import Term, terms

SOUNDS = load_letter_sounds()
DICTIONARY = {
    "acme": "AE K M IY",
    "read": "R EH D",
    "read(2)": "R IY D",
    "pocket": "P AA K AH T",
    "sphinx": "S F IH NG K S",
    "k": "K EY",
    "p": "P IY",
    "i": "AY",
    "it": "IH T",
    "t": "T IY",
    "nurse": "N ER S",
    "wrench": "R EH N CH",
}


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("ACME, Acme.", [("ACME", "AE K M IY"), ("Acme", "AE K M IY")]),
        ("read read", [("read", "R EH D", "R IY D")]),
        ("KPIs", [("KPIs", "K EY P IY AY Z")]),
        ("IT", [("IT", "IH T", "AY T IY")]),
        ("PocketSphinx", [("PocketSphinx", "P AA K AH T S F IH NG K S")]),
        ("metformin", [("metformin", "M EH T F AO R M IH N")]),
        ("ActionVibe", [("ActionVibe", "AE K SH AH N V AY B")]),
        ("Wrench’s", [("Wrench's", "R EH N CH IH Z")]),
        ("Béautiful", [("Béautiful", "B Y UW T AH F AH L")]),
        ("Nurse's nurses", [("Nurse's", "N ER S IH Z"), ("nurses", "N ER S IH Z")]),
        ("pocket-sphinx’s", [("pocket", "P AA K AH T"), ("sphinx's", "S F IH NG K S IH Z")]),
        ("東京 42 <it> a", []),
    ],
)
def test_words_sound_as_in_the_dictionary_or_as_their_parts(prompt: str, expected: list[tuple[str, ...]]) -> None:
    assert list(terms(prompt, DICTIONARY.get, SOUNDS.pronounce)) == [Term(spelling, tuple(phones)) for spelling, *phones in expected]


def test_unknown_words_sound_much_as_people_say_them() -> None:
    pairs = {"through": "TH R UW", "mention": "M EH N SH AH N", "wittgenstein": "W IH T G AH N S T AY N", "knowledge": "N AA L IH JH"}
    assert {word: SOUNDS.pronounce(word) for word in pairs} == pairs


def test_rules_know_latin_letters_alone() -> None:
    assert [SOUNDS.pronounce(word) for word in ("", "42", "Ωmega", "don't")] == [None] * 4
    assert SOUNDS.pronounce("Müller") == SOUNDS.pronounce("muller")
