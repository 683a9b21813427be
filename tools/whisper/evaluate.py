"""Word errors and word times of a model on the held-out splits: `python -m tools.whisper.evaluate MODEL CORPUS`."""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import jiwer
import numpy as np
import torch
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

from tools.whisper.alignment import Timed, word_times
from tools.whisper.corpus import Corpus, Entry, Split, load_corpus
from tools.whisper.grammar import LANGUAGES, Language, bare
from tools.whisper.tokens import Coder, load_coder
from tools.whisper.utterance import SAMPLE_RATE_HZ

LEAD_SECONDS = 0.3
MOST_TOKENS = 60
CLOSE_SECONDS = 0.1
BATCH = 8


@dataclass(frozen=True)
class Score:
    """Of one split and language. words_close: share of the word starts within 100 ms, of words heard right."""

    split: Split
    language: Language
    sentences: int
    word_error_rate: float
    words_close: float


def evaluate(model: WhisperForConditionalGeneration, coder: Coder, corpus: Corpus, split: Split, language: Language, limit: int) -> Score:
    """Transcribe single sentences in windows of 30 s."""
    entries = [entry for entry in corpus.entries if entry.language == language][:limit]
    asked = coder.start(language, timestamps=False)
    texts: list[str] = []
    close: list[bool] = []
    for part in _parts(entries):
        features = _features(corpus, part)
        for entry, ids, timed in zip(part, *_transcribed(model, coder, features, asked), strict=True):
            texts.append(coder.decode(ids) or "-")
            close.extend(_close(entry, timed))
    rate = jiwer.wer([_plain(entry.text) for entry in entries], [_plain(text) or "-" for text in texts])
    return Score(split, language, len(entries), round(rate, 4), round(float(np.mean(close or [False])), 4))


def _parts(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    for start in range(0, len(entries), BATCH):
        yield entries[start : start + BATCH]


def _features(corpus: Corpus, entries: Sequence[Entry]) -> torch.Tensor:
    extractor = WhisperFeatureExtractor()
    lead = np.zeros(round(LEAD_SECONDS * SAMPLE_RATE_HZ), np.float32)
    waves = [np.concatenate([lead, corpus.waveform(entry).astype(np.float32) / 32_768]) for entry in entries]
    features: torch.Tensor = extractor(waves, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt").input_features
    return features


def _transcribed(
    model: WhisperForConditionalGeneration, coder: Coder, features: torch.Tensor, asked: list[int]
) -> tuple[list[list[int]], list[list[Timed]]]:
    with torch.no_grad():
        states = model.model.encoder(features).last_hidden_state
    ids = greedy(model, states, asked, coder.end)
    return ids, [word_times(model, coder, states[place : place + 1], asked, row) for place, row in enumerate(ids)]


def greedy(model: WhisperForConditionalGeneration, states: torch.Tensor, asked: list[int], end: int) -> list[list[int]]:
    """The likeliest token at every step, without any rule. states: (batch, frames, width) of the encoder."""
    tokens = torch.tensor([asked] * len(states))
    ended = torch.zeros(len(states), dtype=torch.bool)
    for _ in range(MOST_TOKENS):
        with torch.no_grad():
            decoded = model.model.decoder(input_ids=tokens, encoder_hidden_states=states, use_cache=False)
            best = model.proj_out(decoded.last_hidden_state[:, -1]).argmax(-1).masked_fill(ended, end)
        tokens = torch.cat([tokens, best[:, None]], 1)
        ended |= best == end
        if bool(ended.all()):
            break
    return [[token for token in row if token != end] for row in tokens[:, len(asked) :].tolist()]


def _plain(text: str) -> str:
    return " ".join(bare(word) for word in text.split() if bare(word))


def _close(entry: Entry, timed: list[Timed]) -> list[bool]:
    """Whether each word starts where it was spoken; nothing for a sentence heard as another."""
    if [bare(word.text) for word in timed] != [bare(word.text) for word in entry.words]:
        return []
    return [abs(heard.start - spoken.start - LEAD_SECONDS) <= CLOSE_SECONDS for heard, spoken in zip(timed, entry.words, strict=True)]


def scores(model: WhisperForConditionalGeneration, coder: Coder, folder: Path, limit: int) -> list[Score]:
    """Both languages, held-out sentences and held-out voices."""
    splits: tuple[Split, ...] = ("sentences", "voices")
    corpora = {split: load_corpus(folder, split) for split in splits}
    return [evaluate(model, coder, corpora[split], split, language, limit) for split in splits for language in LANGUAGES]


def main() -> None:
    """Read the command line and print a score a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = WhisperForConditionalGeneration.from_pretrained(options.model, attn_implementation="eager").eval()
    for score in scores(model, load_coder(options.model), options.corpus, options.limit):
        print(json.dumps(asdict(score)))


if __name__ == "__main__":
    main()
