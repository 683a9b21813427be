"""A Whisper of 300,000 random numbers in Hugging Face layout: nonsense, but the same nonsense everywhere."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

LANGUAGES = ("en", "zh", "de", "es")
WIDTH = 64
HEADS = 2
LAYERS = 2
FRAMES = 1_500
CONTEXT = 448
BANDS = 80
TEXT_TOKENS = 257
END = TEXT_TOKENS
STEERING = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")


def build_tiny_whisper(folder: Path, seed: int = 20_260) -> Path:
    """Write the model's files; its sentences end after a few dozen tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    size = tokenizer.get_vocab_size()
    (folder / "config.json").write_text(json.dumps(_config(size)))
    (folder / "generation_config.json").write_text(json.dumps(_generation_config(tokenizer)))
    (folder / "preprocessor_config.json").write_text(json.dumps(_preprocessor_config()))
    save_file(_tensors(np.random.default_rng(seed), size), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _tokenizer() -> Tokenizer:
    """Every byte is a token; steering tokens and times follow in Whisper's order."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: number for number, character in enumerate(alphabet)} | {"": len(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    steering = ["endoftext", "startoftranscript", *LANGUAGES, *STEERING]
    tokenizer.add_special_tokens([AddedToken(f"<|{name}|>", special=True, normalized=False) for name in steering])
    tokenizer.add_tokens([AddedToken(f"<|{step * 0.02:.2f}|>", normalized=False) for step in range(FRAMES + 1)])
    return tokenizer


def _config(vocabulary_size: int) -> dict[str, Any]:
    sides = ("encoder", "decoder")
    return {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "activation_function": "gelu",
        "d_model": WIDTH,
        "num_mel_bins": BANDS,
        "vocab_size": vocabulary_size,
        "max_source_positions": FRAMES,
        "max_target_positions": CONTEXT,
        "bos_token_id": END,
        "eos_token_id": END,
        "pad_token_id": END,
        "decoder_start_token_id": END + 1,
        **{f"{side}_layers": LAYERS for side in sides},
        **{f"{side}_attention_heads": HEADS for side in sides},
        **{f"{side}_ffn_dim": 4 * WIDTH for side in sides},
    }


def _generation_config(tokenizer: Tokenizer) -> dict[str, Any]:
    vocabulary = tokenizer.get_vocab()

    def token(name: str) -> int:
        return vocabulary[f"<|{name}|>"]

    return {
        "alignment_heads": [[0, 1], [1, 0], [1, 1]],
        "begin_suppress_tokens": [vocabulary["Ġ"], END],
        "suppress_tokens": [3, 7, *(token(name) for name in ("startoftranscript", *LANGUAGES, *STEERING[:-1]))],
        "max_initial_timestamp_index": 50,
        "no_timestamps_token_id": token("notimestamps"),
        "prev_sot_token_id": token("startofprev"),
        "bos_token_id": END,
        "eos_token_id": END,
        "pad_token_id": END,
        "decoder_start_token_id": END + 1,
        "is_multilingual": True,
        "lang_to_id": {f"<|{language}|>": token(language) for language in LANGUAGES},
        "task_to_id": {"transcribe": token("transcribe"), "translate": token("translate")},
        "max_length": CONTEXT,
    }


def _preprocessor_config() -> dict[str, Any]:
    return {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": BANDS, "sampling_rate": 16_000}


def _tensors(random: np.random.Generator, vocabulary_size: int) -> dict[str, np.ndarray[Any, Any]]:
    def normal(*shape: int, deviation: float | None = None) -> np.ndarray[Any, Any]:
        spread = deviation if deviation is not None else float(np.prod(shape[1:])) ** -0.5
        return (random.standard_normal(shape) * spread).astype(np.float32)

    tensors = {
        "encoder.conv1.weight": normal(WIDTH, BANDS, 3),
        "encoder.conv2.weight": normal(WIDTH, WIDTH, 3),
        "encoder.embed_positions.weight": normal(FRAMES, WIDTH, deviation=0.3),
        "decoder.embed_positions.weight": normal(CONTEXT, WIDTH, deviation=0.3),
        "decoder.embed_tokens.weight": normal(vocabulary_size, WIDTH, deviation=0.5),
    }
    tensors |= {f"encoder.conv{number}.bias": normal(WIDTH, deviation=0.1) for number in (1, 2)}
    for side in ("encoder", "decoder"):
        tensors |= _norm(f"{side}.layer_norm", normal)
        for layer in range(LAYERS):
            tensors |= _layer(f"{side}.layers.{layer}", normal, crossed=side == "decoder")
    _make_it_end(tensors)
    return {f"model.{name}": tensor for name, tensor in tensors.items()}


def _layer(name: str, normal: Any, crossed: bool) -> dict[str, np.ndarray[Any, Any]]:
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    for part in ("self_attn", "encoder_attn") if crossed else ("self_attn",):
        tensors |= _norm(f"{name}.{part}_layer_norm", normal)
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            tensors[f"{name}.{part}.{projection}.weight"] = normal(WIDTH, WIDTH, deviation=0.25)
            if projection != "k_proj":
                tensors[f"{name}.{part}.{projection}.bias"] = normal(WIDTH, deviation=0.1)
    tensors |= _norm(f"{name}.final_layer_norm", normal)
    for linear, shape in (("fc1", (4 * WIDTH, WIDTH)), ("fc2", (WIDTH, 4 * WIDTH))):
        tensors[f"{name}.{linear}.weight"] = normal(*shape)
        tensors[f"{name}.{linear}.bias"] = normal(shape[0], deviation=0.1)
    return tensors


def _norm(name: str, normal: Any) -> dict[str, np.ndarray[Any, Any]]:
    return {f"{name}.weight": 1 + normal(WIDTH, deviation=0.1), f"{name}.bias": normal(WIDTH, deviation=0.1)}


def _make_it_end(tensors: dict[str, np.ndarray[Any, Any]]) -> None:
    """The further the decoder is, the more it leans towards the end token."""
    towards = np.sign(tensors["decoder.embed_tokens.weight"][END]) / np.float32(WIDTH**0.5)
    tensors["decoder.embed_tokens.weight"][END] = 4 * towards
    tensors["decoder.embed_positions.weight"] += (np.arange(CONTEXT, dtype=np.float32) / 4)[:, None] * towards
