"""How the words of a prompt sound."""

import pytest

from services.inference.models.pronunciation import Term, terms

DICTIONARY = {
    "acme": "AE K M IY",
    "read": "R EH D",
    "read(2)": "R IY D",
    "pocket": "P AA K AH T",
    "sphinx": "S F IH NG K S",
    "met": "M EH T",
    "form": "F AO R M",
    "formin": "F AO R M IH N",
    "for": "F AO R",
    "min": "M IH N",
    "k": "K EY",
    "p": "P IY",
    "i": "AY",
    "it": "IH T",
    "t": "T IY",
    "nurse": "N ER S",
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
        ("Nurse's nurses", [("Nurse's", "N ER S IH Z"), ("nurses", "N ER S IH Z")]),
        ("pocket-sphinx’s", [("pocket", "P AA K AH T"), ("sphinx's", "S F IH NG K S IH Z")]),
        ("xyzzy 42 <it> a", []),
    ],
)
def test_words_sound_as_in_the_dictionary_or_as_their_parts(prompt: str, expected: list[tuple[str, ...]]) -> None:
    assert list(terms(prompt, DICTIONARY.get)) == [Term(spelling, tuple(phones)) for spelling, *phones in expected]
