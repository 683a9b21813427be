"""Three runtimes behind one shape, each alone in its process: encode windows, decode a fixed number of tokens."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bench.asr.checkpoint import END, START
from services.inference.models.whisper.architecture import read_architecture
from services.inference.models.whisper.decoding import Decoder, DecodingRequest
from services.inference.models.whisper.graphs import CPU_PROVIDER, CUDA_PROVIDER, Graphs
from services.inference.models.whisper.precision import Precision, graphs_folder
from services.inference.models.whisper.prompts import Task, build_prompt
from services.inference.models.whisper.rules import TokenRules
from services.inference.models.whisper.vocabulary import read_generation_config, read_vocabulary
from services.inference.pcm import Floats

LANGUAGE = "l0"


class Contender(Protocol):
    """One model on one thread of a processor, or on a GPU; what `encode` returns is there when it does."""

    bands: int

    def encode(self, mels: Floats) -> Any:
        """What decoding reads."""

    def decode(self, encoded: Any, rows: int, tokens: int) -> None:
        """Greedy, this many tokens per row."""


class Ours:
    """The runtime of `services.inference.models.whisper`."""

    def __init__(self, folder: Path, precision: str, device: str) -> None:
        self._architecture, self._vocabulary = read_architecture(folder), read_vocabulary(folder)
        self.bands = self._architecture.mel_bands
        providers = (CUDA_PROVIDER, CPU_PROVIDER) if device == "cuda" else (CPU_PROVIDER,)
        self._graphs = Graphs(self._architecture, graphs_folder(folder, Precision(precision)), providers, threads=1)
        assert self._graphs.device == device, "ONNX Runtime found no GPU: install onnxruntime-gpu"
        rules = TokenRules(self._vocabulary.special, read_generation_config(folder))
        self._decoder = Decoder(self._graphs, rules, self._vocabulary.special)

    def encode(self, mels: Floats) -> Any:
        """See Contender."""
        return self._graphs.encode(mels)

    def decode(self, encoded: Any, rows: int, tokens: int) -> None:
        """See Contender."""
        prompt = build_prompt(self._vocabulary, Task(LANGUAGE), self._architecture.context)
        found = self._decoder.decode(encoded, [DecodingRequest(prompt, tokens)] * rows)
        assert all(len(decoded.tokens) == tokens for decoded in found)


class Transformers:
    """The reference, with PyTorch's fused attention."""

    def __init__(self, folder: Path, precision: str, device: str) -> None:
        import torch
        from transformers import GenerationConfig, GenerationMixin, WhisperForConditionalGeneration

        torch.set_num_threads(1)
        torch.set_grad_enabled(False)
        self._torch: Any = torch
        self._mixin: Any
        self._config: Any
        self._mixin, self._config = GenerationMixin, GenerationConfig
        self._device = device
        self._model: Any = WhisperForConditionalGeneration.from_pretrained(folder, dtype=getattr(torch, precision)).to(device)
        self.bands = self._model.config.num_mel_bins

    def encode(self, mels: Floats) -> Any:
        """See Contender."""
        encoded = self._model.model.encoder(self._torch.from_numpy(mels).to(self._device, self._model.dtype))
        if self._device == "cuda":
            self._torch.cuda.synchronize()
        return encoded

    def decode(self, encoded: Any, rows: int, tokens: int) -> None:
        """See Contender."""
        prompt = self._torch.tensor([_prompt()] * rows, device=self._device)
        config = self._config(
            eos_token_id=END, pad_token_id=END, decoder_start_token_id=START, min_new_tokens=tokens, max_new_tokens=tokens
        )
        found = self._mixin.generate(self._model, encoder_outputs=encoded, decoder_input_ids=prompt, generation_config=config)
        assert found.shape[1] == prompt.shape[1] + tokens


class CTranslate2:
    """What faster-whisper runs on."""

    def __init__(self, folder: Path, precision: str, device: str) -> None:
        import ctranslate2

        self._library: Any = ctranslate2
        self.bands = read_architecture(folder).mel_bands
        self._model = ctranslate2.models.Whisper(
            str(folder / "ctranslate2"), device=device, compute_type=precision, intra_threads=1, inter_threads=1
        )

    def encode(self, mels: Floats) -> Any:
        """See Contender."""
        return self._model.encode(self._library.StorageView.from_array(mels))

    def decode(self, encoded: Any, rows: int, tokens: int) -> None:
        """See Contender."""
        # It generates half of `max_length`, and no more than the prompt leaves of it.
        prompts, length = [_prompt()] * rows, max(2 * tokens, tokens + len(_prompt()) - 1)
        found = self._model.generate(encoded, prompts, beam_size=1, max_length=length, suppress_blank=False, suppress_tokens=[END])
        assert all(len(one.sequences_ids[0]) == tokens for one in found)


def _prompt() -> list[int]:
    """Start, first language, transcribe, no times."""
    return [START, START + 1, START + 101, START + 105]


def random_mels(rows: int, bands: int) -> Floats:
    """Spectrograms in the range of real ones."""
    return np.random.default_rng(0).uniform(-1, 1, (rows, bands, 3_000)).astype(np.float32)
