"""The weights in the package are the ones that its table names."""

import hashlib

from services.inference.models.catalogue.bundled import BUNDLED_FOLDER
from services.inference.models.vad import MODEL_PATH

DATA = MODEL_PATH.parent


def test_every_weight_file_is_listed_with_its_checksum_and_has_its_licence() -> None:
    table = (DATA / "README.md").read_text()
    weights = sorted([*DATA.glob("*.onnx"), *DATA.glob("*.tsv")])
    assert weights
    for path in weights:
        assert path.name in table
        assert hashlib.sha256(path.read_bytes()).hexdigest() in table
        assert path.with_suffix(".LICENSE").stat().st_size > 1_000


def test_the_test_whisper_is_the_one_that_is_listed() -> None:
    assert hashlib.sha256((BUNDLED_FOLDER / "model.safetensors").read_bytes()).hexdigest() in (DATA / "README.md").read_text()
    assert (BUNDLED_FOLDER / "LICENSE").stat().st_size > 1_000
