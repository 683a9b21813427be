"""Fixtures of the jobs tests: each runs on SQLite and on Postgres."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from tests.jobs.stage import Stage, open_stage

StageFactory = Callable[..., AbstractAsyncContextManager[Stage]]


@pytest.fixture
def stage(tmp_path: Path, database_url: str) -> StageFactory:
    """Opens the stage, within the test's own task."""
    return partial(open_stage, tmp_path, database_url)
