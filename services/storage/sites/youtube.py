"""YouTube: which URLs are its pages, and what of a video's document allows to fetch its audio."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from services.storage.domain import LicenceNotAllowed, SiteNotSupported
from services.storage.sites.source import Source

HOSTS = frozenset(
    {
        "youtube.com",
        "www.youtube.com",
        "m.youtube.com",
        "music.youtube.com",
        "youtu.be",
        "www.youtu.be",
        "youtube-nocookie.com",
        "www.youtube-nocookie.com",
    }
)
# The only places that finding a video's audio needs, with the names below them.
PAGE_DOMAINS = ("youtube.com", "youtu.be", "youtube-nocookie.com", "youtubei.googleapis.com", "googlevideo.com")
_LIVE = frozenset({"is_live", "is_upcoming", "post_live"})
_PLAIN_PROTOCOLS = frozenset({"http", "https"})
_ALLOWED_LICENCE = "creative commons"


def is_page(url: str) -> bool:
    """Whether a checked URL is YouTube's: its host exactly, so that look-alikes are hosts like any other."""
    return urlsplit(url).hostname in HOSTS


def choose_audio(document: Mapping[str, Any]) -> Source:
    """The best audio of a video's document, in yt-dlp's form.

    Raises LicenceNotAllowed unless it is Creative Commons; SiteNotSupported for playlists, live streams and videos without plain audio.
    """
    if document.get("_type", "video") != "video" or "entries" in document:
        raise SiteNotSupported("Only single videos of this site are fetched.")
    if document.get("is_live") or document.get("live_status") in _LIVE:
        raise SiteNotSupported("Live streams are not fetched.")
    licence = document.get("license")
    if not isinstance(licence, str) or not licence.casefold().startswith(_ALLOWED_LICENCE):
        raise LicenceNotAllowed
    formats = [found for found in _formats(document) if _has_plain_audio(found)]
    if not formats:
        raise SiteNotSupported("This video offers no audio that can be fetched.")
    best = max(formats, key=_rank)
    title = document.get("title")
    name = re.sub(r"[/\\]", "-", title) if isinstance(title, str) and title else "video"
    return Source(best["url"], f"{name}.{best.get('ext') or 'media'}", _number(best.get("available_at")))


def _formats(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found = document.get("formats")
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _has_plain_audio(found: Mapping[str, Any]) -> bool:
    """Whether this is one file with sound, neither pieces nor encrypted."""
    plain = found.get("protocol") in _PLAIN_PROTOCOLS and isinstance(found.get("url"), str) and not found.get("has_drm")
    return plain and found.get("acodec") not in (None, "none")


def _rank(found: Mapping[str, Any]) -> tuple[float, bool, float]:
    """The original language before dubbed ones, sound alone before video, then more bits."""
    return (_number(found.get("language_preference")), found.get("vcodec") == "none", _number(found.get("abr") or found.get("tbr")))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
