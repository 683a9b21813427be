"""Shapes of what every contract says of a transcript's quality, for their documents."""

from pydantic import BaseModel


class SpokenLanguage(BaseModel):
    """How long a language is spoken, in seconds."""

    language: str
    duration: float


class Gap(BaseModel):
    """A stretch of speech without text; times in seconds."""

    start: float
    end: float
    reason: str


class Quality(BaseModel):
    """How far a transcript is to be trusted; Steno's own in every contract."""

    speech_detected: bool
    speech_ratio: float | None
    languages: list[SpokenLanguage]
    truncated: bool
    gaps: list[Gap]
    engine: str
    model: str


class SegmentQuality(BaseModel):
    """The same of a segment."""

    language: str | None
    flags: list[str]
