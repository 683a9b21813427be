"""The API keeps to its own documents, whatever is sent to it."""

from pathlib import Path

import pytest

from faults.campaign import Options
from faults.campaigns import contract


@pytest.mark.timeout(400)
def test_no_answer_is_a_5xx_or_outside_the_documents(tmp_path: Path) -> None:
    missed = [figure for figure in contract.run(Options(tmp_path)) if not figure.holds]
    assert missed == []
