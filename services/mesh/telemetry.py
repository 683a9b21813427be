"""Logs: one canonical line per request or message, JSON unless on a terminal."""

import logging
import sys
from typing import TYPE_CHECKING, Literal, TextIO

from services.mesh.lean_imports import import_without

if TYPE_CHECKING:
    import structlog
    from structlog.typing import FilteringBoundLogger, Processor
else:
    # For tracebacks in colour, which no log of ours has: 6 MB and 0.2 s of processor time in each of six processes.
    structlog = import_without("structlog", "rich")

bound_contextvars = structlog.contextvars.bound_contextvars
# Stripe's quotes what was sent and answered.
_CHATTY = ("httpx2", "httpcore2", "alembic", "nats", "asyncio", "aiosqlite", "stripe", "urllib3")


def configure_logging(
    service: str, level: str, log_format: Literal["auto", "json", "console"] = "auto", stream: TextIO | None = None
) -> None:
    """Send Steno's own loggers and the standard library's to one stream, standard error unless given, in one form.

    Ours do not pass through the standard library: its path costs 60-115 µs a line, which is most of a cheap request.
    """
    stream = stream or sys.stderr
    console = stream.isatty() if log_format == "auto" else log_format == "console"
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderers = _renderers(console)
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.contextvars.bind_contextvars(service=service)
    structlog.configure(
        processors=[*shared, *renderers],
        logger_factory=structlog.WriteLoggerFactory(stream),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        cache_logger_on_first_use=True,
    )
    _redirect_standard_library([*shared, structlog.stdlib.add_logger_name], renderers, number, stream)


def _renderers(console: bool) -> "list[Processor]":
    """The last steps of a line. Tracebacks never show local variables: they hold secrets."""
    if console:
        return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _redirect_standard_library(shared: "list[Processor]", renderers: "list[Processor]", level: int, stream: TextIO) -> None:
    handler = logging.StreamHandler(stream)
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[remove_meta, *renderers]))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def get_logger(name: str) -> "FilteringBoundLogger":
    """A logger whose calls take constant text and keyword data."""
    logger: FilteringBoundLogger = structlog.get_logger(source=name)
    return logger
