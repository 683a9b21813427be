"""What a check found."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One line of the report. remedy: what to do; empty when all is well."""

    state: State
    message: str
    remedy: str = ""


def ok(message: str) -> Finding:
    """All is well."""
    return Finding(State.OK, message)


def warning(message: str, remedy: str) -> Finding:
    """Steno runs, but something will be worse than it could be."""
    return Finding(State.WARNING, message, remedy)


def problem(message: str, remedy: str) -> Finding:
    """Steno cannot run, or not do its work."""
    return Finding(State.PROBLEM, message, remedy)
