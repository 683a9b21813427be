"""Token for token and frame for frame what transformers decodes, whatever shares the batch."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.inference.models.whisper.architecture import read_architecture
from services.inference.models.whisper.beams import BeamDecoder
from services.inference.models.whisper.decoding import Decoded, Decoder, DecodingRequest
from services.inference.models.whisper.graphs import CPU_PROVIDER, Graphs
from services.inference.models.whisper.log_mel import LogMel
from services.inference.models.whisper.precision import Precision, graphs_folder
from services.inference.models.whisper.prompts import build_prompt
from services.inference.models.whisper.rules import TokenRules
from services.inference.models.whisper.timing import Utterance, WordTimer
from services.inference.models.whisper.vocabulary import Vocabulary, read_generation_config, read_vocabulary
from services.inference.pcm import Pcm, cut, duration_ms
from tests.inference.conftest import decode
from tests.inference.models.whisper_cases import CASES, MEETING, MOST_TOKENS

ORDER = tuple(np.random.default_rng(5).permutation(len(CASES)).tolist())


class Runtime:
    """Our decoder over the test Whisper in single precision."""

    def __init__(self, folder: Path) -> None:
        self.architecture = read_architecture(folder)
        self.vocabulary: Vocabulary = read_vocabulary(folder)
        rules = TokenRules(self.vocabulary.special, read_generation_config(folder))
        self.graphs = Graphs(self.architecture, graphs_folder(folder, Precision.FP32), (CPU_PROVIDER,), threads=1)
        self.decoder = Decoder(self.graphs, rules, self.vocabulary.special)
        meeting, log_mel = decode(MEETING), LogMel(self.architecture.mel_bands)
        self.pcms: list[Pcm] = [cut(meeting, case.start_ms, case.end_ms) for case in CASES]
        self.mels = np.stack([log_mel(pcm) for pcm in self.pcms])
        self.crossed = self.graphs.encode(self.mels)

    def decode(self, cases: Sequence[int]) -> list[Decoded]:
        """These cases in one batch."""
        prompts = [build_prompt(self.vocabulary, CASES[case].task, self.architecture.context) for case in cases]
        requests = [DecodingRequest(prompt, MOST_TOKENS) for prompt in prompts]
        return self.decoder.decode(self.graphs.select(self.crossed, cases), requests)


@pytest.fixture(scope="module")
def runtime(trained_whisper_folder: Path) -> Runtime:
    return Runtime(trained_whisper_folder)


def test_spectrograms_are_the_references(runtime: Runtime, whisper_reference: dict[str, Any]) -> None:
    bands, frames = whisper_reference["mel_strides"]
    for mel, answer in zip(runtime.mels, whisper_reference["answers"], strict=True):
        np.testing.assert_allclose(mel[::bands, ::frames].ravel(), answer["mel"], atol=1e-5)


@pytest.mark.parametrize("size", [1, 4, 8, 16])
def test_tokens_are_the_references_in_batches_of_mixed_prompts(size: int, runtime: Runtime, whisper_reference: dict[str, Any]) -> None:
    for first in range(0, len(CASES), size):
        cases = ORDER[first : first + size]
        for case, decoded in zip(cases, runtime.decode(cases), strict=True):
            answer = whisper_reference["answers"][case]
            assert decoded.tokens == answer["tokens"], CASES[case]
            assert sum(decoded.log_probabilities) == pytest.approx(answer["log_probability"], abs=2e-3)
            assert decoded.no_speech_probability == pytest.approx(answer["no_speech_probability"], rel=1e-3)


def test_one_beam_is_greedy(runtime: Runtime) -> None:
    prompts = [build_prompt(runtime.vocabulary, case.task, runtime.architecture.context) for case in CASES]
    requests = [DecodingRequest(prompt, 40) for prompt in prompts]
    greedy = runtime.decoder.decode(runtime.crossed, requests)
    searched = BeamDecoder(runtime.decoder, width=1).decode(runtime.crossed, requests)
    assert [found.tokens for found in searched] == [found.tokens for found in greedy]
    assert [found.ended for found in searched] == [found.ended for found in greedy]


def test_reference_holds_ends_and_full_lengths_with_and_without_times(whisper_reference: dict[str, Any]) -> None:
    lengths: dict[bool, set[int]] = {False: set(), True: set()}
    for case, answer in zip(CASES, whisper_reference["answers"], strict=True):
        lengths[case.task.timestamps].add(len(answer["tokens"]))
    for found in lengths.values():
        assert MOST_TOKENS in found
        assert len(found) > 2


def test_languages_are_the_references(runtime: Runtime, whisper_reference: dict[str, Any]) -> None:
    probabilities = runtime.decoder.language_probabilities(runtime.crossed, len(CASES))
    expected = [answer["language_probabilities"] for answer in whisper_reference["answers"]]
    np.testing.assert_allclose(probabilities, expected, atol=1e-4)


def test_tokens_are_placed_where_the_reference_places_them(runtime: Runtime, whisper_reference: dict[str, Any]) -> None:
    answers = whisper_reference["answers"]
    utterances = [
        Utterance(replace(case.task, timestamps=False), Decoded(answer["tokens"]), duration_ms(pcm))
        for case, answer, pcm in zip(CASES, answers, runtime.pcms, strict=True)
    ]
    found = WordTimer(runtime.graphs, runtime.vocabulary).frames(runtime.crossed, utterances)
    pairs = [pair for frames, answer in zip(found, answers, strict=True) for pair in zip(frames, answer["frames"], strict=True)]
    assert len(pairs) > 200
    # Where two paths cost the same, the last digit of an attention weight decides.
    assert sum(ours != theirs for ours, theirs in pairs) <= len(pairs) // 200
