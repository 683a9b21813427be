"""Shows what the children log, for `steno up --verbose`."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from services.mesh.lifecycle import wait_or_stop

ShowLine = Callable[[str, str], None]
_POLL_SECONDS = 0.25
_MAX_BYTES = 1024 * 1024


async def echo(name: str, log_file: Path, show_line: ShowLine, stopping: asyncio.Event) -> None:
    """Pass on every line that is added to the file from now on, until `stopping`."""
    position = log_file.stat().st_size if log_file.exists() else 0
    while True:
        stop = await wait_or_stop(stopping, _POLL_SECONDS)
        position = _pass_on(name, log_file, position, show_line)
        if stop:
            return


def _pass_on(name: str, log_file: Path, position: int, show_line: ShowLine) -> int:
    """Pass on the whole lines after position; returns where they end."""
    if not log_file.exists():
        return 0
    with log_file.open("rb") as log:
        start = position if position <= log_file.stat().st_size else 0
        log.seek(start)
        data = log.read(_MAX_BYTES)
    end = data.rfind(b"\n") + 1
    for line in data[:end].decode(errors="replace").splitlines():
        show_line(name, line)
    return start + (end or (len(data) if len(data) == _MAX_BYTES else 0))
