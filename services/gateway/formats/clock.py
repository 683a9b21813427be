"""Times as subtitles and readers write them."""


def timestamp(offset_ms: int, separator: str) -> str:
    """HH:MM:SS and milliseconds; the hours grow past 99."""
    seconds, milliseconds = divmod(max(offset_ms, 0), 1000)
    return f"{hours_minutes_seconds(seconds)}{separator}{milliseconds:03d}"


def hours_minutes_seconds(seconds: int) -> str:
    """HH:MM:SS."""
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02d}:{minute:02d}:{second:02d}"


def seconds(offset_ms: int) -> float:
    """Milliseconds as seconds."""
    return round(offset_ms / 1000, 3)
