"""Spans of whole days in UTC."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from starlette.requests import Request

from services.gateway.domain import Json, Reason, Refusal
from services.gateway.requests import read_query

PERIODS = ("day", "week", "month")
_DAY = timedelta(days=1)
_FIRST = date(1970, 1, 1)
_LAST = date(9998, 12, 31)


@dataclass(frozen=True, slots=True)
class DaySpan:
    """Two days and everything between them."""

    first: date
    last: date

    @property
    def begin(self) -> datetime:
        """Its first moment."""
        return datetime.combine(self.first, time(), UTC)

    @property
    def end(self) -> datetime:
        """The first moment after it."""
        return datetime.combine(self.last, time(), UTC) + _DAY

    def document(self) -> dict[str, Json]:
        """Its first and its last second."""
        return {"start": f"{self.first.isoformat()}T00:00:00Z", "end": f"{self.last.isoformat()}T23:59:59Z"}


def read_span(request: Request, today: date) -> DaySpan:
    """The span of period, start_date and end_date; a missing date is the edge of the period around the other. Raises Refusal."""
    period = read_query(request, "period", "month")
    if period not in PERIODS:
        raise Refusal(Reason.BAD_REQUEST, f"period is one of {', '.join(PERIODS)}.")
    first, last = _date(request, "start_date"), _date(request, "end_date")
    around = calendar_period(period, first or last or today)
    span = DaySpan(first or around.first, last or around.last)
    if span.last < span.first:
        raise Refusal(Reason.BAD_REQUEST, "end_date is not before start_date.")
    return span


def calendar_period(period: str, day: date) -> DaySpan:
    """The day, the week from Monday to Sunday or the month that a day lies in."""
    if period == "day":
        return DaySpan(day, day)
    if period == "week":
        monday = day - timedelta(days=day.weekday())
        return DaySpan(monday, monday + timedelta(days=6))
    first = day.replace(day=1)
    return DaySpan(first, (first + timedelta(days=31)).replace(day=1) - _DAY)


def _day(text: str) -> date:
    """The day of a date, or that of a time in UTC, as `period` answers it. Raises ValueError, OverflowError."""
    if len(text) <= len("2025-01-31"):
        return date.fromisoformat(text)
    moment = datetime.fromisoformat(text)
    return (moment.astimezone(UTC) if moment.tzinfo else moment).date()


def _date(request: Request, name: str) -> date | None:
    text = read_query(request, name, "")
    if not text:
        return None
    try:
        day = _day(text)
    except (ValueError, OverflowError) as error:
        raise Refusal(Reason.BAD_REQUEST, f"{name} is an ISO 8601 date such as 2025-01-31.") from error
    if not _FIRST <= day <= _LAST:
        raise Refusal(Reason.BAD_REQUEST, f"{name} lies between {_FIRST} and {_LAST}.")
    return day
