"""One key makes one job, however many submits race through however many gateways (I-9)."""

from pathlib import Path

import pytest

from faults.campaign import Options
from faults.campaigns import idempotency


@pytest.mark.timeout(600)
def test_submits_of_one_key_make_one_job_through_two_gateways_and_a_kill(tmp_path: Path) -> None:
    figures = idempotency.run(Options(tmp_path))
    assert [figure for figure in figures if not figure.holds] == []
