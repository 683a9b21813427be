"""The command that prepares a file."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from services.detection.features import FEATURE_COUNT, features
from services.detection.prepare import prepare


def test_the_file_holds_the_features_of_the_recording(tmp_path: Path) -> None:
    pcm = np.asarray(np.random.default_rng(4).normal(0, 900, 700_001), "<i2")
    (tmp_path / "pcm").write_bytes(pcm.tobytes())
    subprocess.run([sys.executable, "-m", "services.detection.prepare", tmp_path / "pcm", tmp_path / "out.npy"], check=True, timeout=60)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), features(pcm))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.npy", "pcm"]


def test_nothing_said_gives_no_rows(tmp_path: Path) -> None:
    (tmp_path / "pcm").touch()
    prepare(tmp_path / "pcm", tmp_path / "out.npy")
    assert np.load(tmp_path / "out.npy").shape == (0, FEATURE_COUNT)


def test_the_rows_can_be_mapped(tmp_path: Path) -> None:
    (tmp_path / "pcm").write_bytes(np.ones(32_000, "<i2").tobytes())
    prepare(tmp_path / "pcm", tmp_path / "out.npy")
    assert np.load(tmp_path / "out.npy", mmap_mode="r").shape == (100, FEATURE_COUNT)
