"""The chart, rendered once for all tests of a session."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.deploy.charts import VALUES_FILES, Rendering, render


@pytest.fixture(scope="session")
def renderings() -> Mapping[str, Rendering]:
    """The chart with each values file of `ci/`."""
    with ThreadPoolExecutor(len(VALUES_FILES)) as threads:
        return dict(zip(VALUES_FILES, threads.map(render, VALUES_FILES), strict=True))


@pytest.fixture(params=VALUES_FILES)
def rendering(request: pytest.FixtureRequest, renderings: Mapping[str, Rendering]) -> Rendering:
    """The chart with one of them after the other."""
    return renderings[request.param]
