"""Where media lies."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """A URL of bytes. `title` names the media where the page does; `available_at` is when the site gives the bytes, in Unix seconds."""

    url: str
    title: str = ""
    available_at: float = 0.0
