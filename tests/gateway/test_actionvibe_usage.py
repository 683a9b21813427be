"""ActionVibe: usage through a gateway."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx2
import pytest

from services.gateway.contracts.actionvibe.periods import calendar_period
from steno.billing.v1.workspace_pb2 import Plan
from steno.jobs.v1.job_pb2 import Job
from tests.gateway.actionvibe import SPELLINGS, assert_code, uploaded
from tests.gateway.conftest import Running
from tests.gateway.peers.plans import usage_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def usage(client: httpx2.AsyncClient, **query: str) -> dict[str, Any]:
    response = await client.get("/api/usage", params=query)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


@pytest.mark.parametrize("start", SPELLINGS)
async def test_usage_has_period_summary_and_limits(gateway: Running, client: httpx2.AsyncClient, start: str) -> None:
    workspace_id = gateway.world.workspace_of(client.headers["x-api-key"])
    gateway.world.usages[workspace_id] = usage_of(Plan(monthly_uploads=1200), upload_count=400)
    for state in (Job.STATE_DONE, Job.STATE_DONE, Job.STATE_FAILED, Job.STATE_CANCELLED, Job.STATE_QUEUED):
        job_id = await uploaded(client)
        await gateway.world.update(job_id, state=state, audio_duration_ms=5_400_000)
    body = (await client.get(f"{start}usage")).json()
    assert set(body) == {"period", "summary", "limits"}
    assert set(body["period"]) == {"start", "end"}
    assert body["summary"] == {"total_transcriptions": 5, "total_hours": 3.0, "total_uploads": 5, "success_rate": 66.7}
    assert body["limits"] == {"monthly_upload_limit": 1200, "remaining_uploads": 800}


@pytest.mark.parametrize(
    ("query", "start", "end"),
    [
        ({"period": "month", "start_date": "2025-01-01"}, "2025-01-01", "2025-01-31"),
        ({"start_date": "2024-02-10"}, "2024-02-10", "2024-02-29"),
        ({"end_date": "2025-02-10"}, "2025-02-01", "2025-02-10"),
        ({"start_date": "2025-01-01T00:00:00Z", "end_date": "2025-01-31T23:59:59Z"}, "2025-01-01", "2025-01-31"),
        ({"period": "day", "start_date": "2025-01-02T01:00:00+02:00"}, "2025-01-01", "2025-01-01"),
        ({"period": "week", "start_date": "2025-01-01"}, "2025-01-01", "2025-01-05"),
        ({"period": "week", "end_date": "2025-01-01"}, "2024-12-30", "2025-01-01"),
        ({"period": "day", "start_date": "2025-01-01"}, "2025-01-01", "2025-01-01"),
        ({"period": "day", "start_date": "2025-01-01", "end_date": "2025-03-31"}, "2025-01-01", "2025-03-31"),
        ({"start_date": "1970-01-01", "end_date": "9998-12-31"}, "1970-01-01", "9998-12-31"),
    ],
)
async def test_missing_date_is_the_edge_of_the_period_around_the_other(
    client: httpx2.AsyncClient, query: dict[str, str], start: str, end: str
) -> None:
    assert (await usage(client, **query))["period"] == {"start": f"{start}T00:00:00Z", "end": f"{end}T23:59:59Z"}


@pytest.mark.parametrize("period", ["", "day", "week", "month"])
async def test_span_is_the_current_period_unless_given(client: httpx2.AsyncClient, period: str) -> None:
    before = datetime.now(UTC).date()
    found = (await usage(client, **({"period": period} if period else {})))["period"]
    spans = [calendar_period(period or "month", day).document() for day in (before, datetime.now(UTC).date())]
    assert found in spans


async def test_weeks_begin_on_monday_and_months_have_their_own_length() -> None:
    week = calendar_period("week", date(2025, 1, 5))
    assert (week.first, week.last) == (date(2024, 12, 30), date(2025, 1, 5))
    assert [calendar_period("month", date(2025, month, 15)).last.day for month in (1, 2, 4, 12)] == [31, 28, 30, 31]


async def test_only_transcriptions_of_the_span_count(gateway: Running, client: httpx2.AsyncClient) -> None:
    today = datetime.now(UTC).date()
    await uploaded(client)
    gateway.world.jobs[await uploaded(client)].create_time.FromJsonString("2025-01-31T23:59:59Z")
    gateway.world.jobs[await uploaded(client)].create_time.FromJsonString("2025-02-01T00:00:00Z")
    assert (await usage(client, start_date="2025-01-01"))["summary"]["total_transcriptions"] == 1
    both = await usage(client, start_date="2025-01-01", end_date=(today + timedelta(days=1)).isoformat())
    assert both["summary"]["total_transcriptions"] == 3


async def test_success_rate_is_100_while_nothing_has_ended(client: httpx2.AsyncClient) -> None:
    assert (await usage(client))["summary"] == {
        "total_transcriptions": 0,
        "total_hours": 0.0,
        "total_uploads": 0,
        "success_rate": 100.0,
    }


async def test_limits_are_null_without_one_and_never_negative(gateway: Running, client: httpx2.AsyncClient) -> None:
    assert (await usage(client))["limits"] == {"monthly_upload_limit": None, "remaining_uploads": None}
    workspace_id = gateway.world.workspace_of(client.headers["x-api-key"])
    gateway.world.usages[workspace_id] = usage_of(Plan(monthly_uploads=5), upload_count=7)
    assert (await usage(client))["limits"] == {"monthly_upload_limit": 5, "remaining_uploads": 0}


@pytest.mark.parametrize(
    "query",
    [
        {"period": "year"},
        {"period": ""},
        {"start_date": "yesterday"},
        {"start_date": "2025-02-30"},
        {"start_date": "0001-01-01T00:00:00+14:00"},
        {"start_date": "٢٠٢٥-01-01"},
        {"end_date": "9999-12-31"},
        {"start_date": "1969-12-31"},
        {"start_date": "2025-02-01", "end_date": "2025-01-31"},
    ],
)
async def test_bad_span_is_400_invalid_request(client: httpx2.AsyncClient, query: dict[str, str]) -> None:
    assert_code(await client.get("/api/usage", params=query), 400, "INVALID_REQUEST")
