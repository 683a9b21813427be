"""Export needs no framework, replaces an earlier one whole, and refuses what it does not know."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from safetensors.numpy import load_file, save_file

from services.inference.models.whisper.architecture import UnsupportedModel, read_alignment_heads, read_architecture
from services.inference.models.whisper.export.export import export_whisper
from services.inference.models.whisper.export.linear import block_quantized
from services.inference.models.whisper.precision import Precision
from tests.inference.models.tiny_whisper import build_tiny_whisper


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return build_tiny_whisper(tmp_path)


def bytes_of(folder: Path, precision: Precision) -> int:
    return sum(path.stat().st_size for path in (folder / "onnx" / precision).iterdir())


def test_smaller_precisions_make_smaller_files(whisper_folder: Path) -> None:
    fp32, fp16, int8 = (bytes_of(whisper_folder, precision) for precision in Precision)
    assert fp16 < 0.6 * fp32
    assert int8 < 0.6 * fp32


def test_needs_no_framework(folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from services.inference.models.whisper.export.export import export_whisper;"
        f"from services.inference.models.whisper.precision import Precision; export_whisper(Path({str(folder)!r}), Precision.FP32);"
        "sys.exit(bool({'torch', 'transformers', 'onnxruntime'} & {name.partition('.')[0] for name in sys.modules}))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    onnxruntime.InferenceSession(str(folder / "onnx" / "fp32" / "decoder.onnx"), providers=["CPUExecutionProvider"])


def test_a_broken_checkpoint_leaves_the_earlier_export(folder: Path) -> None:
    target = export_whisper(folder, Precision.FP32)
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.decoder.layers.1.fc2.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UnsupportedModel, match=r"decoder\.layers\.1\.fc2\.weight"):
        export_whisper(folder, Precision.FP32)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before


def test_shards_make_the_same_graphs(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    whole = export_whisper(folder, Precision.FP32)
    sharded = tmp_path_factory.mktemp("sharded")
    for name in ("config.json", "generation_config.json"):
        shutil.copy(folder / name, sharded / name)
    tensors = load_file(folder / "model.safetensors")
    shards = {f"model-0000{number}-of-00002.safetensors": sorted(tensors)[number - 1 :: 2] for number in (1, 2)}
    for shard, names in shards.items():
        save_file({name: tensors[name] for name in names}, sharded / shard)
    index = {"weight_map": {name: shard for shard, names in shards.items() for name in names}}
    (sharded / "model.safetensors.index.json").write_text(json.dumps(index))
    split = export_whisper(sharded, Precision.FP32)
    for path in whole.iterdir():
        assert (split / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("change", [{"model_type": "bart"}, {"activation_function": "relu"}, {"scale_embedding": True}])
def test_other_architectures_are_refused(folder: Path, change: dict[str, object]) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(UnsupportedModel):
        export_whisper(folder, Precision.FP32)


def test_a_model_that_names_no_alignment_heads_uses_its_upper_half(folder: Path) -> None:
    generation = json.loads((folder / "generation_config.json").read_text())
    del generation["alignment_heads"]
    (folder / "generation_config.json").write_text(json.dumps(generation))
    assert read_alignment_heads(folder, read_architecture(folder)) == ((1, 0), (1, 1))


def test_blocks_are_within_half_a_step_of_the_weights() -> None:
    weight = np.random.default_rng(0).standard_normal((10, 192)).astype(np.float32)
    blocks, scales = block_quantized(weight)
    restored = ((blocks.astype(np.float32) - 128) * scales[:, :, None]).reshape(weight.shape)
    assert blocks.shape == (10, 3, 64)
    assert (np.abs(restored - weight).reshape(10, 3, 64) <= scales[:, :, None] * 0.501).all()
