"""A time that no step of this machine's clock moves."""

import time
from datetime import UTC, datetime

# Where there is one, it goes on while the machine sleeps.
_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SteadyClock:
    """What the machine's clock said when this was made, plus what has passed since."""

    def __init__(self) -> None:
        self._began = time.time() - time.clock_gettime(_SINCE_BOOT)

    def now(self) -> datetime:
        """In UTC."""
        return datetime.fromtimestamp(self._seconds(), UTC)

    def microseconds(self) -> int:
        """Since 1970."""
        return int(self._seconds() * 1_000_000)

    def _seconds(self) -> float:
        return self._began + time.clock_gettime(_SINCE_BOOT)
