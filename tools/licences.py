"""Write docs/licences.md, and refuse a licence that deploy/licences.toml does not allow: `python -m tools.licences`."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from packaging.utils import canonicalize_name

from tools.locks import EXTRAS, FOLDER, ROOT, read_entries

POLICY = ROOT / "deploy" / "licences.toml"
PAGE = ROOT / "docs" / "licences.md"
IMAGES = (*EXTRAS, "triton-cpu", "triton-gpu")
_LIBRARY = re.compile(r"(?P<name>lib\w+)[-.].*so[.\d]*$")
_SECONDS = 120.0
_HEAD = """# Licences of what the images carry

Written by `make licences` from the packages' own words and [deploy/licences.toml](../deploy/licences.toml), which says what is allowed
and why the rest is accepted. Packages that only build and test Steno are not here; models and other data that the wheel carries are
in [NOTICE](../NOTICE), what the images stand on in the images themselves.
"""


@dataclass(frozen=True)
class Part:
    """A package or a native library inside one. licence: an SPDX expression, empty where nobody says. images: that carry it."""

    name: str
    licence: str
    images: tuple[str, ...]


def read_policy() -> dict[str, dict[str, str]]:
    """The tables of the policy; `allowed` as a table of empty reasons."""
    policy = tomllib.loads(POLICY.read_text())
    return {**policy, "allowed": dict.fromkeys(policy["allowed"], "")}


def carried() -> Mapping[str, tuple[str, ...]]:
    """Images of each package."""
    found: dict[str, list[str]] = {}
    for image in IMAGES:
        for name in read_entries(FOLDER / f"{image}.lock"):
            found.setdefault(name, []).append(image)
    return {name: tuple(images) for name, images in sorted(found.items())}


def ask_packages() -> Mapping[str, str]:
    """What each installed package says its licence is, by pip-licenses."""
    program = Path(sys.executable).with_name("pip-licenses")
    command = [str(program), "--format=json", "--from=mixed", "--with-system"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_SECONDS)
    return {canonicalize_name(row["Name"]): row["License"] for row in json.loads(answer.stdout)}


def packages(policy: Mapping[str, Mapping[str, str]], told: Mapping[str, str]) -> Iterator[Part]:
    """Every package of the images."""
    for name, images in carried().items():
        said = policy["packages"].get(name) or told.get(name, "")
        licence = policy["spellings"].get(said, said)
        yield Part(name, "" if licence == "UNKNOWN" else licence, images)


def libraries(policy: Mapping[str, Mapping[str, str]]) -> Iterator[Part]:
    """Every native library that a wheel brought in a folder beside its package."""
    for package, images in carried().items():
        for library in sorted(_bundled(package)):
            yield Part(f"{package}: {library}", policy["libraries"].get(library, ""), images)


def _bundled(package: str) -> set[str]:
    try:
        paths = files(package) or []
    except PackageNotFoundError:
        return set()
    inside = (path.name for path in paths if path.parts[0].endswith(".libs"))
    return {found["name"] for found in map(_LIBRARY.match, inside) if found}


def refusals(parts: list[Part], policy: Mapping[str, Mapping[str, str]]) -> list[str]:
    """One sentence for each part whose licence is unknown or not allowed."""
    taken = policy["allowed"].keys() | policy["accepted"].keys()
    return [
        f"{part.name} ({', '.join(part.images)}): {part.licence or 'no licence known'}"
        for part in parts
        if not may_be_carried(part.licence, taken)
    ]


def may_be_carried(licence: str, taken: set[str]) -> bool:
    """Whether all that the expression asks for at once is taken, by one of its choices. Of parentheses it knows nothing and says no."""
    return any(all(term in taken for term in choice.split(" AND ")) for choice in licence.split(" OR "))


def page(parts: list[Part], policy: Mapping[str, Mapping[str, str]]) -> str:
    """The text of docs/licences.md."""
    rows = [f"| {part.name} | {part.licence} | {_images(part.images)} |" for part in parts]
    used = {term for part in parts for term in re.split(r" AND | OR ", part.licence)}
    accepted = [f"| {licence} | {reason} |" for licence, reason in policy["accepted"].items() if licence in used]
    head = [_HEAD, "| package, or library inside it | licence | images |", "|---|---|---|"]
    return "\n".join([*head, *rows, "", "## Accepted for a reason", "", "| licence | reason |", "|---|---|", *accepted, ""])


def _images(images: tuple[str, ...]) -> str:
    ours = [image for image in images if image in EXTRAS]
    return "all but triton" if len(ours) == len(EXTRAS) == len(images) else ", ".join(images)


def main() -> int:
    """Write the page and tell what is refused; 1 when something is."""
    policy = read_policy()
    parts = [*packages(policy, ask_packages()), *libraries(policy)]
    PAGE.write_text(page(parts, policy))
    refused = refusals(parts, policy)
    print("\n".join(refused) or f"{len(parts)} packages and libraries, every licence allowed or accepted: {PAGE.relative_to(ROOT)}")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
