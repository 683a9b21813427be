"""How much of the disk and of the processors reading audio may take."""

import shutil
from pathlib import Path

from services.mesh.errors import ServiceUnavailable

_UNPROBED_SLACK_MS = 60_000


def has_room(scratch: Path, min_free_bytes: int) -> bool:
    """True when the scratch disk can take another job."""
    return shutil.disk_usage(scratch).free >= min_free_bytes


def check_room(scratch: Path, needed_bytes: int, what: str) -> None:
    """A job that cannot fit must not fill the disk under the others. Raises ServiceUnavailable."""
    if not has_room(scratch, needed_bytes):
        raise ServiceUnavailable(f"The scratch disk has no room for {what}.")


def decode_limit_ms(probed_ms: int, max_duration_ms: int) -> int:
    """The processor time that hostile audio may burn follows from this, so a short file gets little; the probe may be off."""
    return min(max_duration_ms, 2 * probed_ms + _UNPROBED_SLACK_MS) if probed_ms else max_duration_ms
