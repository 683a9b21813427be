"""Where media lies."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """A URL of bytes. `title` names the media where the page does."""

    url: str
    title: str = ""
