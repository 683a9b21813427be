"""Billing's use cases on SQLite and on Postgres, and billing as it runs."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.billing.service import Running, running
from tests.billing.stage import Stage, open_stage


@pytest.fixture
async def stage(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """Billing's use cases on each database."""
    async with open_stage(database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Running]:
    """A running billing service."""
    async with running(tmp_path) as opened:
        yield opened
