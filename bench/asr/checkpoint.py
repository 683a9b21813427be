"""Checkpoints of Whisper's real sizes with random weights: speed does not depend on what a model has learnt."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

FRAMES = 1_500
CONTEXT = 448
TEXT_TOKENS = 50_257
LANGUAGES = 99
END = TEXT_TOKENS
START = END + 1
STEERING = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")
VOCABULARY = TEXT_TOKENS + 2 + LANGUAGES + len(STEERING) + FRAMES + 1
HEAD_SIZE = 64


@dataclass(frozen=True)
class Size:
    """A published size. decoder_layers: 0 for as many as the encoder has. Source: Radford et al. 2022, table 1, and `config.json`s."""

    width: int
    layers: int
    decoder_layers: int = 0
    bands: int = 80

    @property
    def depths(self) -> dict[str, int]:
        """Layers of each side."""
        return {"encoder": self.layers, "decoder": self.decoder_layers or self.layers}


SIZES = {
    "tiny": Size(384, 4),
    "base": Size(512, 6),
    "small": Size(768, 12),
    "medium": Size(1024, 24),
    "large-v3": Size(1280, 32, bands=128),
    "large-v3-turbo": Size(1280, 32, decoder_layers=4, bands=128),
}


def write_checkpoint(folder: Path, size: Size) -> Path:
    """A model folder in Hugging Face layout whose tokens of text never end."""
    folder.mkdir(parents=True)
    heads = size.width // HEAD_SIZE
    _write(folder / "config.json", _config(size, heads))
    _write(folder / "generation_config.json", _generation_config(size, heads))
    _write(folder / "preprocessor_config.json", {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": size.bands})
    _write(folder / "tokenizer_config.json", {"tokenizer_class": "WhisperTokenizer", "unk_token": "<|endoftext|>"})
    _tokenizer().save(str(folder / "tokenizer.json"))
    save_file(_tensors(size), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content))


def _config(size: Size, heads: int) -> dict[str, Any]:
    sides = ("encoder", "decoder")
    return {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "d_model": size.width,
        "num_mel_bins": size.bands,
        "vocab_size": VOCABULARY,
        "max_source_positions": FRAMES,
        "max_target_positions": CONTEXT,
        "bos_token_id": END,
        "eos_token_id": END,
        "pad_token_id": END,
        "decoder_start_token_id": START,
        **{f"{side}_layers": depth for side, depth in size.depths.items()},
        **{f"{side}_attention_heads": heads for side in sides},
        **{f"{side}_ffn_dim": 4 * size.width for side in sides},
    }


def _generation_config(size: Size, heads: int) -> dict[str, Any]:
    return {
        "alignment_heads": [[size.depths["decoder"] - 1, head] for head in range(heads)],
        "suppress_tokens": [END],
        "begin_suppress_tokens": [],
        "eos_token_id": END,
        "pad_token_id": END,
        "decoder_start_token_id": START,
        "lang_to_id": {f"<|l{number}|>": START + 1 + number for number in range(LANGUAGES)},
        "is_multilingual": True,
    }


def _tokenizer() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made_up = [f"text{number}" for number in range(TEXT_TOKENS - len(alphabet) - 1)]
    tokenizer = Tokenizer(models.BPE(vocab={text: number for number, text in enumerate([*alphabet, *made_up, ""])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = ["endoftext", "startoftranscript", *(f"l{number}" for number in range(LANGUAGES)), *STEERING]
    tokenizer.add_special_tokens([AddedToken(f"<|{name}|>", special=True, normalized=False) for name in names])
    tokenizer.add_tokens([AddedToken(f"<|{step * 0.02:.2f}|>", normalized=False) for step in range(FRAMES + 1)])
    return tokenizer


def _tensors(size: Size) -> dict[str, np.ndarray[Any, Any]]:
    random, width = np.random.default_rng(1), size.width

    def normal(*shape: int) -> np.ndarray[Any, Any]:
        return random.standard_normal(shape, np.float32) * np.float32(float(np.prod(shape[1:])) ** -0.5)

    shapes: dict[str, tuple[int, ...]] = {
        "encoder.conv1.weight": (width, size.bands, 3),
        "encoder.conv2.weight": (width, width, 3),
        "encoder.embed_positions.weight": (FRAMES, width),
        "decoder.embed_positions.weight": (CONTEXT, width),
        "decoder.embed_tokens.weight": (VOCABULARY, width),
    }
    vectors = {"encoder.conv1.bias", "encoder.conv2.bias"}
    norms = {"encoder.layer_norm", "decoder.layer_norm"}
    for side, attentions in (("encoder", ("self_attn",)), ("decoder", ("self_attn", "encoder_attn"))):
        for name in (f"{side}.layers.{layer}" for layer in range(size.depths[side])):
            shapes |= {f"{name}.fc1.weight": (4 * width, width), f"{name}.fc2.weight": (width, 4 * width)}
            vectors |= {f"{name}.fc2.bias", *(f"{name}.{part}.{to}_proj.bias" for part in attentions for to in ("q", "v", "out"))}
            norms |= {f"{name}.final_layer_norm", *(f"{name}.{part}_layer_norm" for part in attentions)}
            shapes |= {f"{name}.{part}.{to}_proj.weight": (width, width) for part in attentions for to in ("q", "k", "v", "out")}
            shapes[f"{name}.fc1.bias"] = (4 * width,)
    tensors = {name: normal(*shape) for name, shape in shapes.items()}
    tensors |= {name: np.zeros(width, np.float32) for name in vectors}
    tensors |= {f"{name}.weight": np.ones(width, np.float32) for name in norms}
    tensors |= {f"{name}.bias": np.zeros(width, np.float32) for name in norms}
    return {f"model.{name}": tensor for name, tensor in tensors.items()}
