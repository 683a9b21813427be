"""What every test shares."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """--faults=long runs the fault tests over as many jobs as `make test-faults` promises."""
    parser.addoption("--faults", choices=("short", "long"), default="short")
