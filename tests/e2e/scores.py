"""Word and speaker errors of a transcript against the samples' references."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jiwer
from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate

_NOT_IN_WORDS = re.compile(r"[^a-z0-9' ]")
COLLAR_SECONDS = 0.25


def words(text: str) -> list[str]:
    """Lower-case words without punctuation."""
    return _NOT_IN_WORDS.sub("", " ".join(text.lower().split())).split()


def word_error_rate(reference: str, transcript: Mapping[str, Any]) -> float:
    """Share of the reference's words that are wrong, missing or invented."""
    return float(jiwer.wer(" ".join(words(reference)), " ".join(words(transcript["text"]))))


def diarization_error_rate(reference: Path, transcript: Mapping[str, Any]) -> float:
    """DER of the segments' speakers; 0.25 s on each side of a turn's edge do not count."""
    truth, guess = Annotation(), Annotation()
    document = json.loads(reference.read_text())
    for turn in document["turns"]:
        truth[Segment(turn["start"], turn["end"])] = turn["speaker"]
    for segment in transcript["segments"]:
        guess[Segment(segment["start"], segment["end"])] = segment["speaker"]
    return float(DiarizationErrorRate(collar=2 * COLLAR_SECONDS)(truth, guess, uem=Timeline([Segment(0, document["duration"])])))
