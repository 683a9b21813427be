"""Plain words get capitals and full stops, and nothing that would be a guess."""

from services.inference.alignment import build_segments
from services.inference.casing import write_out
from services.inference.transcript import Word


def test_a_segment_becomes_a_sentence() -> None:
    words = [Word(text, at * 300, at * 300 + 250, speaker=0) for at, text in enumerate(["then", "i'm", "sure", "i", "said", "so"])]
    (segment,) = write_out(build_segments(words))
    assert segment.text == "Then I'm sure I said so."
    assert [word.text for word in segment.words] == segment.text.split()
    assert [word.start_ms for word in segment.words] == [word.start_ms for word in words]


def test_every_speaker_starts_a_sentence() -> None:
    words = [Word("really", 0, 300, speaker=0), Word("yes", 310, 600, speaker=1)]
    assert [segment.text for segment in write_out(build_segments(words))] == ["Really.", "Yes."]
