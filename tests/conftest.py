"""What every test shares."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """--faults=long runs the fault tests over as many jobs as `make test-faults` promises."""
    parser.addoption("--faults", choices=("short", "long"), default="short")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one area share one worker, and with it the servers that they start; e2e is large enough to be parted by file."""
    for item in items:
        parts = item.path.relative_to(item.config.rootpath).parts
        group = "/".join(parts[:3] if parts[1] == "e2e" and "kills" in parts[-1] else parts[:2])
        item.add_marker(pytest.mark.xdist_group(group))
