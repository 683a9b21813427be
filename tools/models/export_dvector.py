"""Write the speaker encoder's ONNX file from the weights in the resemblyzer wheel.

Needs torch, onnx and onnxruntime, which the service itself does not:

    python -m venv /tmp/export && /tmp/export/bin/pip install torch onnx onnxruntime numpy
    pip download --no-deps resemblyzer==0.1.4
    /tmp/export/bin/python tools/models/export_dvector.py Resemblyzer-0.1.4-py3-none-any.whl speaker_dvector.onnx

The file stays float32: with dynamic int8 the embedding of a window depends on its batch, its cosine to
the original falls to 0.4 on quiet speech, and speakers merge.

Source of the architecture: Wan et al. 2018, 'Generalized end-to-end loss for speaker verification'.
"""

import argparse
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

MEL_BANDS = 40
EMBEDDING_SIZE = 256
WEIGHTS_PATH = "resemblyzer/pretrained.pt"
LOSS_ONLY_WEIGHTS = ("similarity_weight", "similarity_bias")
MINIMUM_COSINE = 0.999


class DVectorEncoder(nn.Module):  # type: ignore[misc, unused-ignore]
    """Three LSTM layers, the last hidden state projected to the unit sphere."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(MEL_BANDS, EMBEDDING_SIZE, num_layers=3, batch_first=True)
        self.linear = nn.Linear(EMBEDDING_SIZE, EMBEDDING_SIZE)

    def forward(self, mels: torch.Tensor) -> torch.Tensor:
        """mels: (windows, frames, 40) float32 power. Returns (windows, 256) of length 1."""
        # The first state is spelled out, or the exporter fixes the batch size of its example.
        zeros = mels.new_zeros(3, mels.shape[0], EMBEDDING_SIZE)
        _, (hidden, _) = self.lstm(mels, (zeros, zeros))
        return nn.functional.normalize(torch.relu(self.linear(hidden[-1])), dim=1)


def load_encoder(wheel: Path) -> DVectorEncoder:
    """The encoder with the wheel's weights; every weight must have a place."""
    with zipfile.ZipFile(wheel) as archive:
        checkpoint = torch.load(io.BytesIO(archive.read(WEIGHTS_PATH)), map_location="cpu", weights_only=True)
    weights = {k: v for k, v in checkpoint["model_state"].items() if k not in LOSS_ONLY_WEIGHTS}
    encoder = DVectorEncoder()
    encoder.load_state_dict(weights, strict=True)
    encoder.eval()
    return encoder


def export(encoder: DVectorEncoder, output: Path) -> None:
    """Write one ONNX file with free batch and frame dimensions."""
    torch.onnx.export(
        encoder,
        (torch.rand(2, 200, MEL_BANDS),),
        str(output),
        dynamo=False,
        opset_version=17,
        input_names=["mels"],
        output_names=["embeddings"],
        dynamic_axes={"mels": {0: "windows", 1: "frames"}, "embeddings": {0: "windows"}},
    )
    onnx.checker.check_model(onnx.load(output))


def lowest_cosine(encoder: DVectorEncoder, output: Path) -> float:
    """Cosine of the worst window between torch and the written file, over sizes and loudness."""
    session = onnxruntime.InferenceSession(str(output), providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    cosines = []
    for windows, frames, loudness in ((1, 50, 1e-4), (7, 160, 1e-2), (33, 200, 1.0)):
        mels = torch.rand(windows, frames, MEL_BANDS, generator=generator) * loudness
        with torch.no_grad():
            expected = encoder(mels).numpy()
        (written,) = session.run(None, {"mels": mels.numpy()})
        cosines.append(np.sum(expected * written, axis=1).min())
    return float(min(cosines))


def main() -> None:
    """Export, verify against torch, print the checksum to note beside the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path, help="the resemblyzer wheel")
    parser.add_argument("output", type=Path, help="the ONNX file to write")
    arguments = parser.parse_args()
    encoder = load_encoder(arguments.wheel)
    export(encoder, arguments.output)
    cosine = lowest_cosine(encoder, arguments.output)
    if cosine < MINIMUM_COSINE:
        raise SystemExit(f"the written file disagrees with torch: cosine {cosine:.6f}")
    digest = hashlib.sha256(arguments.output.read_bytes()).hexdigest()
    print(f"{arguments.output} sha256 {digest} lowest cosine {cosine:.6f}")


if __name__ == "__main__":
    main()
