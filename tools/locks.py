"""Write deploy/locks/<image>.lock, the part of requirements.lock that each image installs: `python -m tools.locks`.

Needs no network: what a package needs is read from the packages installed here, which `make setup` took from requirements.lock.
"""

import re
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "deploy" / "locks"
SOURCE = ROOT / "requirements.lock"
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "gateway": ("gateway",),
    "jobs": ("jobs", "postgres"),
    "billing": ("billing", "postgres"),
    "storage": ("storage", "postgres", "s3", "youtube"),
    "inference": ("inference",),
    "trainer": ("inference", "training"),
    "operator": ("postgres",),
    "all": ("all",),
}
# What makes the wheel: `build-system.requires` of pyproject.toml.
BUILD = ("hatchling", "grpcio-tools", "mypy-protobuf", "protobuf", "pip")
_HEAD = "# Part of requirements.lock, written by `python -m tools.locks`: {what}.\n"
_ENTRY = re.compile(r"^(?P<name>[\w.-]+)==\S+ \\\n(?:    --hash=\S+(?: \\)?\n)+", re.MULTILINE)


class UnlockedPackage(Exception):
    """Something is needed that requirements.lock does not hold: run `make lock`, then `make setup`."""


def read_entries(lock: Path = SOURCE) -> Mapping[str, str]:
    """Each package's pinned version with its hashes, as the lock writes it, by canonical name."""
    return {canonicalize_name(found["name"]): found[0] for found in _ENTRY.finditer(lock.read_text())}


def needed(name: str, extras: tuple[str, ...]) -> set[str]:
    """Canonical names of what a distribution brings on this platform, itself left out. Raises UnlockedPackage."""
    seen: set[tuple[str, str]] = set()
    for extra in ("", *extras):
        _gather(name, extra, seen)
    return {found for found, _ in seen} - {canonicalize_name(name)}


def _gather(name: str, extra: str, seen: set[tuple[str, str]]) -> None:
    key = (canonicalize_name(name), extra)
    if key in seen:
        return
    seen.add(key)
    for requirement in _requirements(name):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            for wanted in ("", *requirement.extras):
                _gather(requirement.name, wanted, seen)


def _requirements(name: str) -> Iterator[Requirement]:
    try:
        lines = requires(name) or []
    except PackageNotFoundError as error:
        raise UnlockedPackage(f"{name} is not installed here") from error
    return (Requirement(line) for line in lines)


def locks() -> Iterator[tuple[Path, str]]:
    """Every file with the text that it should have. Raises UnlockedPackage."""
    entries = read_entries()
    for image, extras in EXTRAS.items():
        what = "steno" + (f"[{','.join(extras)}]" if extras else "")
        yield FOLDER / f"{image}.lock", _text(what, needed("steno", extras), entries)
    build = {canonicalize_name(name) for name in BUILD}.union(*(needed(name, ()) for name in BUILD))
    yield FOLDER / "build.lock", _text("what makes the wheel", build, entries)
    yield FOLDER / "triton-cpu.lock", _triton()


def _text(what: str, names: set[str], entries: Mapping[str, str]) -> str:
    if missing := names - entries.keys():
        raise UnlockedPackage(f"requirements.lock lacks {', '.join(sorted(missing))}")
    return _HEAD.format(what=what) + "".join(entries[name] for name in sorted(names))


def _triton() -> str:
    """The interpreter of Triton's models without the server, which NVIDIA's image has."""
    entries = dict(read_entries(ROOT / "deploy" / "triton" / "requirements.lock"))
    del entries["nvidia-pytriton"]
    what = "the interpreter of Triton's models on a processor"
    return _HEAD.format(what=what).replace("requirements.lock", "deploy/triton/requirements.lock") + "".join(entries.values())


def main() -> None:
    """Write them all."""
    FOLDER.mkdir(exist_ok=True)
    for path, text in locks():
        path.write_text(text)


if __name__ == "__main__":
    main()
