"""The weights in the package are the ones that its table names."""

import hashlib

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
