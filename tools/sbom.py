"""Write a CycloneDX bill of materials per image into dist/sbom: `python -m tools.sbom`. The same locks make the same bytes."""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

from tools.locks import EXTRAS, FOLDER, ROOT, read_entries

OUT = ROOT / "dist" / "sbom"
_SECONDS = 300.0
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_VERSION = re.compile(r"==(\S+)")
Json = dict[str, Any]


def describe_environment() -> Json:
    """What cyclonedx-py says of the packages that are installed here: names, licences, what needs what."""
    command = [str(Path(sys.executable).with_name("cyclonedx-py")), "environment", "--output-reproducible", "--spec-version=1.6"]
    command += ["--pyproject", str(ROOT / "pyproject.toml"), sys.executable]
    described: Json = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=_SECONDS).stdout)
    return described


def bill(image: str, environment: Json) -> Json:
    """The part of the environment that the image's lock has, with the lock's hashes."""
    entries = read_entries(FOLDER / f"{image}.lock")
    known: dict[str, Json] = {canonicalize_name(found["name"]): found for found in environment["components"]}
    components = [_component(name, entry, known) for name, entry in sorted(entries.items())]
    references = {found["bom-ref"] for found in components}
    root = {**environment["metadata"]["component"], "name": f"steno-{image}"}
    root.pop("components", None)
    needs = {found["ref"]: sorted(references.intersection(found.get("dependsOn", ()))) for found in environment.get("dependencies", ())}
    dependencies = [{"ref": reference, "dependsOn": needs.get(reference, [])} for reference in sorted(references)]
    dependencies.append({"ref": root["bom-ref"], "dependsOn": sorted(references)})
    metadata = {**environment["metadata"], "component": root}
    return {**environment, "metadata": metadata, "components": components, "dependencies": dependencies}


def _component(name: str, entry: str, known: Mapping[str, Json]) -> Json:
    version = _VERSION.findall(entry)[0]
    purl = f"pkg:pypi/{name}@{version}"
    here = known.get(name)
    described: Json = here if here is not None and here.get("version") == version else {"type": "library", "name": name, "version": version}
    told: Json = {key: described[key] for key in ("type", "name", "version", "description", "licenses") if key in described}
    # Any of the lock's files may be the one that a platform installs.
    files = [{"name": "sha256 of a file in the lock", "value": digest} for digest in sorted(_HASH.findall(entry))]
    return {**told, "bom-ref": described.get("bom-ref", purl), "purl": purl, "properties": files}


def write(image: str, environment: Json, folder: Path) -> Path:
    """The image's file. Raises ValueError when it breaks CycloneDX's schema."""
    text = json.dumps(bill(image, environment), indent=2, sort_keys=True) + "\n"
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ValueError(f"{image}: {error}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"steno-{image}.cdx.json"
    path.write_text(text)
    return path


def main(given: Sequence[str]) -> int:
    """Write them all."""
    parser = argparse.ArgumentParser(prog="python -m tools.sbom", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write to")
    folder: Path = parser.parse_args(given).out
    environment = describe_environment()
    for image in (*EXTRAS, "triton-cpu", "triton-gpu"):
        print(write(image, environment, folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
