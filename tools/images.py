"""Build the container images, and pin what they stand on: `python -m tools.images build|pin`.

deploy/images.env names every image of others. `pin` asks their registries for digests and writes them there; `build --release` refuses
an image without one, and pushes what it built with its provenance.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.locks import EXTRAS

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "deploy" / "images.env"
TRITON = "triton"
BASES = {TRITON: "TRITON_IMAGE"}
_LINE = re.compile(r"^(?P<name>[A-Z0-9_]+_IMAGE)=(?P<reference>[^@\s]+)(?:@(?P<digest>sha256:[0-9a-f]{64}))?$", re.MULTILINE)
_INSPECT_SECONDS = 120.0


class ImagesUnusable(Exception):
    """The images cannot be pinned or built; the message says why."""


def read_images(text: str) -> Mapping[str, str]:
    """Reference of each image by its name, with its digest where it is pinned."""
    return {found["name"]: found["reference"] + (f"@{found['digest']}" if found["digest"] else "") for found in _LINE.finditer(text)}


def pinned(text: str, digests: Mapping[str, str]) -> str:
    """The text with each reference at its digest. digests: by reference without one."""
    return _LINE.sub(lambda found: f"{found['name']}={found['reference']}@{digests[found['reference']]}", text)


def ask_digest(reference: str) -> str:
    """What the registry answers for the tag. Raises ImagesUnusable."""
    answer = _run("docker", "buildx", "imagetools", "inspect", reference, "--format", "{{.Manifest.Digest}}")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", answer):
        raise ImagesUnusable(f"the registry of {reference} answered no digest: {answer[:200]}")
    return answer


def _run(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=_INSPECT_SECONDS).stdout.strip()
    except OSError as error:
        raise ImagesUnusable(f"{command[0]} does not run: {error.strerror}") from error
    except subprocess.SubprocessError as error:
        raise ImagesUnusable(f"`{' '.join(command)}` failed: {(getattr(error, 'stderr', '') or str(error)).strip()[-500:]}") from error


def base_of(image: str, images: Mapping[str, str], *, release: bool) -> tuple[str, str]:
    """Name and reference of what the image stands on. Raises ImagesUnusable for a release on a tag that may change."""
    name = BASES.get(image, "PYTHON_IMAGE")
    if release and "@sha256:" not in images[name]:
        raise ImagesUnusable(
            f"{name} has no digest in deploy/images.env, which a release must stand on: run `make pin-images` and commit it"
        )
    return name, images[name]


def build_command(image: str, images: Mapping[str, str], registry: str, *, release: bool) -> list[str]:
    """How the image is built. Raises ImagesUnusable."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    name, reference = base_of(image, images, release=release)
    arguments = {
        name: reference,
        "VERSION": version,
        "REVISION": _run("git", "rev-parse", "HEAD"),
        "SOURCE_DATE_EPOCH": _run("git", "log", "-1", "--format=%ct"),
    } | ({} if image == TRITON else {"SERVICE": image})
    file = "deploy/Dockerfile.triton" if image == TRITON else "deploy/Dockerfile"
    given = [part for key, value in arguments.items() for part in ("--build-arg", f"{key}={value}")]
    output = ["--provenance=mode=max", "--sbom=true", "--push"] if release else ["--load"]
    return ["docker", "buildx", "build", "--file", file, *given, "--tag", f"{registry}steno-{image}:{version}", *output, "."]


def _pin() -> None:
    text = FILE.read_text()
    references = {found["reference"] for found in _LINE.finditer(text)}
    FILE.write_text(pinned(text, {reference: ask_digest(reference) for reference in sorted(references)}))
    print(FILE.read_text(), end="")


def _build(names: Sequence[str], registry: str, *, release: bool) -> None:
    images = read_images(FILE.read_text())
    for command in [build_command(name, images, registry, release=release) for name in names]:
        print(" ".join(command), flush=True)
        try:
            subprocess.run(command, check=True, cwd=ROOT)
        except (OSError, subprocess.CalledProcessError) as error:
            raise ImagesUnusable(f"the build failed: {error}") from error


def main(given: Sequence[str]) -> int:
    """Carry out the command; why it failed on standard error."""
    parser = argparse.ArgumentParser(prog="python -m tools.images", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("pin", help="write the digests of now into deploy/images.env")
    build = commands.add_parser("build", help="build images with docker buildx")
    build.add_argument("images", nargs="*", default=[*EXTRAS, TRITON], metavar="IMAGE")
    build.add_argument("--registry", default="", help="what the names begin with, such as registry.example.com/speech/")
    build.add_argument("--release", action="store_true", help="refuse a base without digest; push, with provenance and SBOM")
    arguments = parser.parse_args(given)
    try:
        _pin() if arguments.command == "pin" else _build(arguments.images, arguments.registry, release=arguments.release)
    except ImagesUnusable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
