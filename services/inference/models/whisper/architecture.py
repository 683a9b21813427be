"""The sizes of a Whisper model, as its `config.json` gives them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONFIG_FILE = "config.json"
GENERATION_FILE = "generation_config.json"
TOKENIZER_FILE = "tokenizer.json"
SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


class UnsupportedModel(ValueError):
    """The folder holds no Whisper model that this package can run."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of one model. frames: encoder positions of a window, 20 ms each. context: the decoder's positions."""

    mel_bands: int
    width: int
    vocabulary_size: int
    frames: int
    context: int
    encoder_layers: int
    encoder_heads: int
    decoder_layers: int
    decoder_heads: int

    @property
    def head_size(self) -> int:
        """Width of one head of the decoder's attention."""
        return self.width // self.decoder_heads


def read_architecture(folder: Path) -> Architecture:
    """Raises UnsupportedModel unless the folder describes a Whisper with exact GELU and tied embeddings."""
    config = read_json(folder / CONFIG_FILE)
    if config.get("model_type") != "whisper":
        raise UnsupportedModel(f"{folder / CONFIG_FILE} describes no Whisper model")
    if config.get("activation_function", "gelu") != "gelu" or config.get("scale_embedding") or not config.get("tie_word_embeddings", True):
        raise UnsupportedModel(f"{folder / CONFIG_FILE}: only GELU, unscaled and tied embeddings are known")
    return Architecture(
        mel_bands=config["num_mel_bins"],
        width=config["d_model"],
        vocabulary_size=config["vocab_size"],
        frames=config["max_source_positions"],
        context=config["max_target_positions"],
        encoder_layers=config["encoder_layers"],
        encoder_heads=config["encoder_attention_heads"],
        decoder_layers=config["decoder_layers"],
        decoder_heads=config["decoder_attention_heads"],
    )


def read_alignment_heads(folder: Path, architecture: Architecture) -> tuple[tuple[int, int], ...]:
    """(layer, head) of the cross-attention that follows the speech; every head of the upper half where the model names none."""
    named = read_json(folder / GENERATION_FILE).get("alignment_heads")
    if named:
        return tuple((int(layer), int(head)) for layer, head in named)
    upper = range(architecture.decoder_layers // 2, architecture.decoder_layers)
    return tuple((layer, head) for layer in upper for head in range(architecture.decoder_heads))


def read_json(path: Path) -> dict[str, Any]:
    """Raises UnsupportedModel when the file is missing or no JSON object."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnsupportedModel(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise UnsupportedModel(f"{path} is no JSON object")
    return found
