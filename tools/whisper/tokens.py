"""The tokenizer: byte-level BPE learnt on the grammar, in Whisper's layout of special tokens.

Text tokens, then the empty token that the multilingual vocabularies hold, then the special tokens, then a timestamp every 20 ms.
"""

import json
import random
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers.models.whisper.tokenization_whisper import LANGUAGES as WHISPER_LANGUAGES

from tools.whisper.grammar import LANGUAGES, Language, sentence
from tools.whisper.lexicon import HOMOPHONES

SEED = 11
TEXT_TOKENS = 1_280
CORPUS_SENTENCES = 12_000
TIMESTAMP_SECONDS = 0.02
TIMESTAMPS = 1_501
# The last language of the table came with large-v3 and shifts every id behind it.
SPOKEN = tuple(WHISPER_LANGUAGES)[:99]
SYMBOLS = " \"#()*+/:;<=>@[\\]^_`{|}~ -- --- << >> ♪ ♪♪♪ - '"

_AFTER_LANGUAGES = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")
SPECIAL = ("<|endoftext|>", "<|startoftranscript|>", *(f"<|{name}|>" for name in (*SPOKEN, *_AFTER_LANGUAGES)))


@dataclass(frozen=True)
class Coder:
    """Text to token ids and back, and the ids that steer the model."""

    tokenizer: Tokenizer

    def encode(self, text: str) -> list[int]:
        """Ids of a text; words begin with a space."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: list[int]) -> str:
        """The text of the ids below the special tokens."""
        text: str = self.tokenizer.decode([token for token in ids if token < self.end])
        return text.strip()

    def named(self, name: str) -> int:
        """The id of a special token, given without its `<|` and `|>`."""
        token: int | None = self.tokenizer.token_to_id(f"<|{name}|>")
        if token is None:
            raise KeyError(name)
        return token

    def timestamp(self, seconds: float) -> int:
        """The nearest timestamp token; the end of the window at most."""
        return self.first_timestamp + min(TIMESTAMPS - 1, round(seconds / TIMESTAMP_SECONDS))

    def start(self, language: Language, *, timestamps: bool) -> list[int]:
        """The ids that ask for a transcript."""
        asked = [self.named("startoftranscript"), self.named(language), self.named("transcribe")]
        return asked if timestamps else [*asked, self.named("notimestamps")]

    @cached_property
    def end(self) -> int:
        """End of text: also the first id behind the text."""
        return self.named("endoftext")

    @cached_property
    def first_timestamp(self) -> int:
        """The timestamp at the start of the window."""
        return self.named("0.00")

    @property
    def size(self) -> int:
        """Rows of the embedding."""
        count: int = self.tokenizer.get_vocab_size(with_added_tokens=True)
        return count


def learn_tokenizer() -> Tokenizer:
    """A tokenizer of the grammar; the same every time."""
    vocabulary, merges = _learnt()
    vocabulary[""] = TEXT_TOKENS
    tokenizer = _byte_level(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL])
    stamps = [f"<|{step * TIMESTAMP_SECONDS:.2f}|>" for step in range(TIMESTAMPS)]
    tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in stamps])
    return tokenizer


def _learnt() -> tuple[dict[str, int], list[tuple[str, str]]]:
    tokenizer = _byte_level(models.BPE())
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=TEXT_TOKENS, initial_alphabet=alphabet, special_tokens=[], show_progress=False)
    tokenizer.train_from_iterator(_sentences(), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    if len(model["vocab"]) != TEXT_TOKENS:
        raise ValueError(f"the grammar yields only {len(model['vocab'])} tokens")
    return model["vocab"], [(left, right) for left, right in model["merges"]]


def _byte_level(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentences() -> list[str]:
    chance = random.Random(SEED)
    spoken = [f" {sentence(chance, language)}" for _ in range(CORPUS_SENTENCES) for language in LANGUAGES]
    asked = [f" {spelling}{mark}" for spelling in HOMOPHONES.values() for mark in (".", ",")]
    return spoken + asked * 300 + [SYMBOLS] * 3


def load_coder(folder: Path) -> Coder:
    """The tokenizer of a model folder."""
    return Coder(Tokenizer.from_file(str(folder / "tokenizer.json")))
