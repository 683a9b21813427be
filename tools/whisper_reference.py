"""What transformers makes of a Whisper model: the answers that tests expect of our runtime, or a check of any model.

    python -m tools.whisper_reference write MODEL_FOLDER     the tests' answers, of the test Whisper that ships
    python -m tools.whisper_reference check MODEL_FOLDER     decode the same windows with both and count equal ones

Needs torch and transformers (extra `whisper-reference`); the tests do without.
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    GenerationConfig,
    GenerationMixin,
    LogitsProcessorList,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)
from transformers.generation.logits_process import (
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
    WhisperTimeStampLogitsProcessor,
)
from transformers.models.whisper.generation_whisper import _dynamic_time_warping, _median_filter

from services.inference.models.whisper.architecture import read_alignment_heads, read_architecture
from services.inference.models.whisper.decoding import Decoder, DecodingRequest
from services.inference.models.whisper.export.export import export_whisper
from services.inference.models.whisper.graphs import CPU_PROVIDER, Graphs
from services.inference.models.whisper.log_mel import WINDOW_SAMPLES, LogMel
from services.inference.models.whisper.precision import Precision
from services.inference.models.whisper.prompts import Prompt, build_prompt, start_sequence
from services.inference.models.whisper.rules import TokenRules
from services.inference.models.whisper.vocabulary import read_generation_config, read_vocabulary
from services.inference.pcm import FULL_SCALE, Floats, Pcm, cut
from tests.inference.conftest import decode
from tests.inference.models.whisper_cases import CASES, MEETING, MOST_TOKENS, REFERENCE, Case

MEL_STRIDES = (7, 131)
SMALLEST_MARGIN = 2e-4


class Reference:
    """A model as transformers runs it."""

    def __init__(self, folder: Path) -> None:
        self._model: Any = WhisperForConditionalGeneration.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
        self._features = WhisperFeatureExtractor.from_pretrained(folder)
        self._vocabulary = read_vocabulary(folder)
        self._rules = read_generation_config(folder)
        self._architecture = read_architecture(folder)
        self._heads = read_alignment_heads(folder, self._architecture)

    def mel(self, pcm: Pcm) -> Floats:
        """By its numpy path, in double precision; its torch path is off by 3e-5."""
        padded = np.pad(pcm / FULL_SCALE, (0, WINDOW_SAMPLES - len(pcm)))
        return np.asarray(self._features._np_extract_fbank_features(padded[None], "cpu")[0], np.float32)

    def answer(self, pcm: Pcm, case: Case) -> dict[str, Any]:
        """Tokens, their probability, and where they are."""
        with torch.no_grad():
            return self._answer(pcm, case)

    def _answer(self, pcm: Pcm, case: Case) -> dict[str, Any]:
        mel = self.mel(pcm)
        encoded = self._model.model.encoder(torch.from_numpy(mel)[None])
        prompt = build_prompt(self._vocabulary, case.task, self._architecture.context)
        found = self._generate(encoded, prompt)
        tokens = found.sequences[0, len(prompt.tokens) :].tolist()
        probabilities = [torch.log_softmax(scores[0].float(), -1)[token].item() for scores, token in zip(found.scores, tokens, strict=True)]
        margins = [float(-np.diff(scores[0].topk(2).values)[0]) for scores in found.scores]
        text = [token for token in tokens if self._vocabulary.is_text(token)]
        return {
            "tokens": [token for token in tokens if token != self._vocabulary.special.end],
            "log_probability": sum(probabilities),
            "margin": min(margins),
            "no_speech_probability": self._no_speech(encoded, prompt),
            "language_probabilities": self._languages(encoded),
            "frames": self._frames(encoded, case, text, len(pcm) // 320) if text else [],
            "mel": [round(value, 6) for value in mel[:: MEL_STRIDES[0], :: MEL_STRIDES[1]].ravel().tolist()],
        }

    def _generate(self, encoded: Any, prompt: Prompt) -> Any:
        start, end = len(prompt.tokens), self._vocabulary.special.end
        processors = LogitsProcessorList(
            [
                SuppressTokensAtBeginLogitsProcessor(list(self._rules.suppressed_at_start), begin_index=start),
                SuppressTokensLogitsProcessor(list(self._rules.suppressed)),
            ]
        )
        if prompt.timestamps:
            processors.append(WhisperTimeStampLogitsProcessor(self._model.generation_config, begin_index=start))
        # Whisper's own `generate` drops what follows the last closed pair of times: this one is the loop below it.
        config = GenerationConfig.from_dict(
            {
                "eos_token_id": end,
                "pad_token_id": end,
                "decoder_start_token_id": prompt.tokens[0],
                "max_new_tokens": MOST_TOKENS,
                "output_scores": True,
                "return_dict_in_generate": True,
            }
        )
        tokens = torch.tensor([prompt.tokens])
        return GenerationMixin.generate(
            self._model, encoder_outputs=encoded, decoder_input_ids=tokens, logits_processor=processors, generation_config=config
        )

    def _logits(self, encoded: Any, tokens: list[int], **wanted: bool) -> Any:
        return self._model(encoder_outputs=encoded, decoder_input_ids=torch.tensor([tokens]), **wanted)

    def _no_speech(self, encoded: Any, prompt: Prompt) -> float:
        logits = self._logits(encoded, list(prompt.tokens)).logits[0, prompt.start]
        return float(logits.softmax(-1)[self._vocabulary.special.no_speech])

    def _languages(self, encoded: Any) -> list[float]:
        logits = self._logits(encoded, [self._vocabulary.special.start]).logits[0, 0]
        probabilities = logits[list(self._vocabulary.special.languages.values())].softmax(-1).tolist()
        return [round(probability, 6) for probability in probabilities]

    def _frames(self, encoded: Any, case: Case, text: list[int], frames: int) -> list[int]:
        start = start_sequence(self._vocabulary, case.task)
        if case.task.timestamps:
            start.append(self._vocabulary.special.no_timestamps)
        crossed = self._logits(encoded, [*start, *text, self._vocabulary.special.end], output_attentions=True).cross_attentions
        weights = torch.stack([crossed[layer][0, head] for layer, head in self._heads])[:, :, :frames]
        weights = weights / weights.sum(-1, keepdim=True)
        deviation, mean = torch.std_mean(weights, dim=-2, keepdim=True, unbiased=False)
        smooth = _median_filter((weights - mean) / deviation, 7).mean(0)[len(start) - 1 : -1]
        rows, columns = _dynamic_time_warping(-smooth.double().numpy())
        return [int(column) for column in columns[np.pad(np.diff(rows), (1, 0), constant_values=1).astype(bool)]]


def answers(folder: Path) -> list[dict[str, Any]]:
    """Of every case."""
    reference, meeting = Reference(folder), decode(MEETING)
    return [reference.answer(cut(meeting, case.start_ms, case.end_ms), case) for case in CASES]


def write(folder: Path) -> None:
    """The tests' file. Raises ValueError when a choice was so close that another machine may choose otherwise."""
    found = answers(folder)
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    for case, answer in zip(CASES, found, strict=True):
        print(case, len(answer["tokens"]), round(answer["margin"], 4))
    if min(answer["margin"] for answer in found) < SMALLEST_MARGIN:
        raise ValueError("two tokens are too close: take other windows")
    REFERENCE.write_text(json.dumps({"model_sha256": digest, "mel_strides": MEL_STRIDES, "answers": found}) + "\n")


def check(folder: Path) -> None:
    """Print how many cases both decode alike, in batches of 1, 4 and 8."""
    expected = [answer["tokens"] for answer in answers(folder)]
    vocabulary, architecture = read_vocabulary(folder), read_architecture(folder)
    with tempfile.TemporaryDirectory() as name:
        for path in folder.iterdir():
            if path.is_file():
                (Path(name) / path.name).symlink_to(path.resolve())
        graphs = Graphs(architecture, export_whisper(Path(name), Precision.FP32), (CPU_PROVIDER,), threads=1)
        decoder = Decoder(graphs, TokenRules(vocabulary.special, read_generation_config(folder)), vocabulary.special)
        meeting, log_mel = decode(MEETING), LogMel(architecture.mel_bands)
        mels = np.stack([log_mel(cut(meeting, case.start_ms, case.end_ms)) for case in CASES])
        requests = [DecodingRequest(build_prompt(vocabulary, case.task, architecture.context), MOST_TOKENS) for case in CASES]
        for size in (1, 4, 8):
            found = [
                decoded.tokens
                for first in range(0, len(CASES), size)
                for decoded in decoder.decode(graphs.encode(mels[first : first + size]), requests[first : first + size])
            ]
            print(f"batch {size}: {sum(one == other for one, other in zip(found, expected, strict=True))} of {len(CASES)} equal")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] in ("write", "check"):
        (write if sys.argv[1] == "write" else check)(Path(sys.argv[2]))
    else:
        sys.exit(__doc__)
