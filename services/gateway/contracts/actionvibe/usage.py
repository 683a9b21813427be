"""Figures over a span of days, and what the plan leaves of the month."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.gateway.contracts.actionvibe.periods import read_span
from services.gateway.domain import Client, Json
from services.gateway.peers import Peers
from services.gateway.units import hours, timestamp
from steno.billing.v1.billing_service_pb2 import GetUsageRequest
from steno.billing.v1.ledger_pb2 import Usage
from steno.jobs.v1.jobs_service_pb2 import SummarizeJobsRequest, SummarizeJobsResponse

_ALL_PERCENT = 100.0


@dataclass(frozen=True)
class UsageReport:
    """Answers how much was transcribed."""

    peers: Peers

    async def usage(self, request: Request, client: Client) -> Response:
        """The span, its figures and the current month's limits. Raises Refusal and RemoteError."""
        span = read_span(request, datetime.now(UTC).date())
        figures, usage = await asyncio.gather(
            self.peers.jobs.SummarizeJobs(SummarizeJobsRequest(start_time=timestamp(span.begin), end_time=timestamp(span.end))),
            self.peers.billing.GetUsage(GetUsageRequest()),
        )
        return JSONResponse({"period": span.document(), "summary": _summary(figures), "limits": _limits(usage.usage)})


def _summary(figures: SummarizeJobsResponse) -> Json:
    ended = figures.done_count + figures.failed_count
    return {
        "total_transcriptions": figures.total_count,
        "total_hours": hours(figures.audio_duration_ms),
        "total_uploads": figures.total_count,
        "success_rate": round(100 * figures.done_count / ended, 1) if ended else _ALL_PERCENT,
    }


def _limits(usage: Usage) -> Json:
    """Null for a plan without a limit: any number would be one."""
    limit = usage.plan.monthly_uploads
    return {
        "monthly_upload_limit": limit or None,
        "remaining_uploads": max(limit - usage.upload_count, 0) if limit else None,
    }
