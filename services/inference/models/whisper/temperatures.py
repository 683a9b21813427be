"""The ladder of temperatures: what to try when a window cannot be believed, and which try to keep.

Apart from the model, so that an engine that asks a server climbs it too.
"""

from services.inference.transcript import Verdict

TEMPERATURE_STEP = 0.2
HIGHEST_TEMPERATURE = 1.0
TOLERANCE = 1e-6
FINAL = (Verdict.ACCEPTED, Verdict.SILENT)


def next_temperature(temperature: float) -> float | None:
    """The next rung of the ladder, None after the last."""
    higher = temperature + TEMPERATURE_STEP
    return None if higher > HIGHEST_TEMPERATURE + TOLERANCE else min(higher, HIGHEST_TEMPERATURE)


def rank(verdict: Verdict, average_log_probability: float) -> tuple[bool, bool, float]:
    """Of the tries of one window the greatest is kept; FINAL ones end the climb."""
    return verdict in FINAL, verdict is not Verdict.REPETITIVE, average_log_probability
