"""Each service runs with its own extra alone."""

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

import pytest

from tests.absent_packages import HIDING

SERVICES = ("gateway", "jobs", "billing", "storage", "inference")
PROGRAM = (
    HIDING
    + """import services.{service}.app
print(*sys.modules)
"""
)


def closure(name: str, extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]) -> None:
    """Gather the distributions that this one brings with these extras."""
    if (name, extras) in seen:
        return
    seen.add((name, extras))
    try:
        needs = requires(name) or []
    except PackageNotFoundError:
        return
    for need in needs:
        marker = re.search(r"extra == ['\"]([\w-]+)['\"]", need)
        if marker is None or marker.group(1) in extras:
            closure(*parts(need), seen)


def parts(requirement: str) -> tuple[str, frozenset[str]]:
    """Normalised name of a requirement, and the extras that it asks for."""
    match = re.match(r"\s*([\w.-]+)\s*(?:\[([^\]]*)\])?", requirement)
    assert match is not None
    extras = frozenset(extra.strip() for extra in (match.group(2) or "").split(",") if extra.strip())
    return re.sub(r"[-_.]+", "-", match.group(1)).lower(), extras


def absent_packages(service: str) -> list[str]:
    """Top-level modules that neither the base nor the service's extra installs."""
    seen: set[tuple[str, frozenset[str]]] = set()
    closure("steno", frozenset({service}), seen)
    installed = {name for name, _ in seen}
    owners = packages_distributions()
    own = {"services", "steno", "tests", "tools", "bench"}
    return sorted(
        module
        for module, names in owners.items()
        if module not in own and not any(re.sub(r"[-_.]+", "-", name).lower() in installed for name in names)
    )


@pytest.mark.parametrize("service", SERVICES)
def test_service_loads_with_its_own_extra_alone(service: str) -> None:
    absent = absent_packages(service)
    assert "pytest" in absent
    program = PROGRAM.format(absent=absent, service=service)
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert answer.returncode == 0, answer.stderr[-2000:]
    heavy = {"onnxruntime", "av", "pocketsphinx"} & {name.partition(".")[0] for name in answer.stdout.split()}
    assert not heavy, "models and libav are loaded in processes of their own"
