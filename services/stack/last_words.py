"""What a child that did not start last wrote, readable."""

import json
import re

from services.stack.children import Child

_LINES = 4
_TRACE_LINES = 6
# Its complaint about a driver that is not there comes at every start without a GPU.
_TRITON_ERROR = re.compile(r"error: |\S+Z E \d+ (?!.*CudaDriverHelper)")


def last_words(child: Child) -> str:
    """The end of a child's log, the traces in its JSON lines unfolded."""
    lines = [text for line in _end(child.tail().splitlines()) for text in _unfold(line)]
    return "\n".join([f"{child.spec.name} did not become ready; the end of {child.log_file}:", *(f"  {line}" for line in lines)])


def _end(lines: list[str]) -> list[str]:
    """The last lines; those from its last error on where it is tritonserver, which says more while it ends."""
    errors = [number for number, line in enumerate(lines) if _TRITON_ERROR.match(line)]
    return lines[errors[-1] :][:_LINES] if errors else lines[-_LINES:]


def _unfold(line: str) -> list[str]:
    try:
        entry = json.loads(line)
    except ValueError:
        return [line]
    if not isinstance(entry, dict) or "event" not in entry:
        return [line]
    shown = {name: value for name, value in entry.items() if name not in ("event", "exception", "service", "timestamp", "logger", "level")}
    head = f"{entry['event']} {json.dumps(shown)}" if shown else str(entry["event"])
    return [head, *str(entry.get("exception", "")).splitlines()[-_TRACE_LINES:]]
