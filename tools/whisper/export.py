"""Write a checkpoint, or the mean of several, as a Hugging Face folder: `python -m tools.whisper.export FOLDER CHECKPOINT...`."""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import GenerationConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

from tools.whisper.network import ALIGNMENT_HEADS, whisper_config
from tools.whisper.tokens import SPOKEN, Coder, learn_tokenizer

CARD = Path(__file__).with_name("MODEL_CARD.md")
LICENCE = Path(__file__).parents[2] / "LICENSE"
LATEST_FIRST_TIMESTAMP = 50
TARGET_TOKENS = 448
_MARKS = tuple('"#()*+/:;<=>@[\\]^_`{|}~「」『』')
_RUNS = ("<<", ">>", "<<<", ">>>", "--", "---", "-(", "-[", "('", '("', "((", "))", "(((", ")))", "[[", "]]", "{{", "}}", "♪♪", "♪♪♪")
_NOTES = tuple("♩♪♫♬♭♮♯")
_NEVER_SAID = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "startoftranscript")


def suppressed(coder: Coder) -> list[int]:
    """Ids that no transcript holds: marks of annotations, and the special tokens. Source: openai/whisper's `non_speech_tokens`."""
    ids = {coder.encode(" -")[0], coder.encode(" '")[0], *(coder.named(name) for name in _NEVER_SAID)}
    for mark in (*_MARKS, *_RUNS, *_NOTES):
        for tokens in (coder.encode(mark), coder.encode(f" {mark}")):
            if len(tokens) == 1 or mark in _NOTES:
                ids.add(tokens[0])
    return sorted(ids)


def generation_config(coder: Coder) -> GenerationConfig:
    """How the model is to be decoded, in the terms of the published multilingual models."""
    options: dict[str, Any] = {
        "bos_token_id": coder.end,
        "eos_token_id": coder.end,
        "pad_token_id": coder.end,
        "decoder_start_token_id": coder.named("startoftranscript"),
        "prev_sot_token_id": coder.named("startofprev"),
        "no_timestamps_token_id": coder.named("notimestamps"),
        "lang_to_id": {f"<|{language}|>": coder.named(language) for language in SPOKEN},
        "task_to_id": {task: coder.named(task) for task in ("transcribe", "translate")},
        "suppress_tokens": suppressed(coder),
        # The published models may not end at once and write something about silence; this one has learnt to write nothing.
        "begin_suppress_tokens": [coder.encode(" ")[0]],
        "alignment_heads": [list(head) for head in ALIGNMENT_HEADS],
        "max_initial_timestamp_index": LATEST_FIRST_TIMESTAMP,
        "max_length": TARGET_TOKENS,
        "is_multilingual": True,
        "return_timestamps": False,
    }
    return GenerationConfig(**options)


def export(checkpoints: Sequence[Path], folder: Path) -> None:
    """Write weights, configuration, tokenizer, feature extractor, model card and licence; the frame classifiers are left out."""
    coder = Coder(learn_tokenizer())
    model = WhisperForConditionalGeneration(whisper_config(coder))
    model.load_state_dict(_mean([_whisper_weights(checkpoint) for checkpoint in checkpoints]))
    model.generation_config = generation_config(coder)
    model.save_pretrained(folder)
    _halve(folder / "model.safetensors")
    _write_preprocessor(folder)
    _write_tokenizer(coder, folder)
    shutil.copyfile(CARD, folder / "README.md")
    shutil.copyfile(LICENCE, folder / "LICENSE")


def _mean(weights: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Of checkpoints of one run: what they learnt is the same, what was chance at the time is less."""
    return {name: torch.stack([one[name] for one in weights]).mean(0) for name in weights[0]}


def _whisper_weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    network = torch.load(checkpoint, weights_only=True)["network"]
    return {name.removeprefix("whisper."): weight for name, weight in network.items() if name.startswith("whisper.")}


def _halve(path: Path) -> None:
    """Store the weights in half the bytes; whoever reads them makes them float32 again, as the configuration says."""
    halves = {name: weight.half() for name, weight in load_file(path).items()}
    save_file(halves, path, metadata={"format": "pt"})
    path.chmod(0o644)


def _write_preprocessor(folder: Path) -> None:
    settings = WhisperFeatureExtractor().to_dict()
    settings.pop("mel_filters", None)
    (folder / "preprocessor_config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _write_tokenizer(coder: Coder, folder: Path) -> None:
    """tokenizer.json as it was learnt: transformers would write the timestamps as special tokens."""
    coder.tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    end = "<|endoftext|>"
    settings = {"tokenizer_class": "WhisperTokenizer", **dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), end)}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Read the command line and export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    options = parser.parse_args()
    export(options.checkpoints, options.folder)


if __name__ == "__main__":
    main()
