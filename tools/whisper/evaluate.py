"""Word errors, word times and more of a model on the held-out splits: `python -m tools.whisper.evaluate MODEL CORPUS`."""

import argparse
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import jiwer
import numpy as np
import torch
from transformers import WhisperForConditionalGeneration

from tools.whisper.alignment import Timed
from tools.whisper.corpus import Corpus, Split, load_corpus
from tools.whisper.grammar import LANGUAGES, Language, bare
from tools.whisper.probes import probe
from tools.whisper.recognizer import Recognizer
from tools.whisper.scenes import Scene, scenes
from tools.whisper.tokens import load_coder

CLOSE_SECONDS = 0.1
BATCH = 8
HELD_OUT: tuple[Split, ...] = ("sentences", "voices")


@dataclass(frozen=True)
class Score:
    """Of one split, language and kind of window. words_close: share of the words heard right that start within 100 ms."""

    split: Split
    language: Language
    filled: bool
    timestamps: bool
    words: int
    word_error_rate: float
    words_close: float


def evaluate(
    recognizer: Recognizer, corpus: Corpus, split: Split, language: Language, *, filled: bool, timestamps: bool, limit: int
) -> Score:
    """Transcribe the first sentences of a split, one to a window or as many as a window holds."""
    entries = [entry for entry in corpus.entries if entry.language == language][:limit]
    spoken = list(scenes(corpus, entries, filled=filled))
    waves = [scene.samples for scene in spoken]
    parts = (waves[start : start + BATCH] for start in range(0, len(waves), BATCH))
    heard = [words for part in parts for words in recognizer.transcribe(part, language, timestamps=timestamps)]
    references = [_plain(word.text for word in scene.words) for scene in spoken]
    error = jiwer.wer(references, [_plain(word.text for word in words) or "-" for words in heard])
    close = [near for scene, words in zip(spoken, heard, strict=True) for near in _close(scene, words)]
    count = sum(len(scene.words) for scene in spoken)
    return Score(split, language, filled, timestamps, count, round(error, 4), round(float(np.mean(close or [False])), 4))


def _plain(words: Iterator[str]) -> str:
    return " ".join(bare(word) for word in words if bare(word))


def _close(scene: Scene, heard: Sequence[Timed]) -> list[bool]:
    """Whether each word that was heard right starts where it was spoken."""
    spoken_texts, heard_texts = [bare(word.text) for word in scene.words], [bare(word.text) for word in heard]
    if not heard_texts:
        return []
    chunks = jiwer.process_words(" ".join(spoken_texts), " ".join(text or "-" for text in heard_texts)).alignments[0]
    pairs = (
        zip(range(one.ref_start_idx, one.ref_end_idx), range(one.hyp_start_idx, one.hyp_end_idx), strict=True)
        for one in chunks
        if one.type == "equal"
    )
    return [abs(heard[right].start - scene.words[left].start) <= CLOSE_SECONDS for left, right in itertools.chain.from_iterable(pairs)]


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
    recognizer = Recognizer(model, load_coder(options.model))
    for split in HELD_OUT:
        corpus = load_corpus(options.corpus, split)
        for language, filled in itertools.product(LANGUAGES, (False, True)):
            score = evaluate(recognizer, corpus, split, language, filled=filled, timestamps=filled, limit=options.limit)
            print(json.dumps(asdict(score)), flush=True)
        print(json.dumps({"split": split, **asdict(probe(recognizer, corpus, options.limit))}), flush=True)


if __name__ == "__main__":
    main()
