"""A model's tokens: text, and those that steer it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Tokenizer

from services.inference.models.whisper.architecture import GENERATION_FILE, TOKENIZER_FILE, UnsupportedModel, read_json
from services.inference.models.whisper.languages import read_language_tokens

NO_SPEECH_NAMES = ("<|nospeech|>", "<|nocaptions|>")
TIMESTAMP_MS = 20


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """Ids of the steering tokens. languages: by ISO 639-1 code, empty in a model of English only."""

    end: int
    start: int
    previous: int
    transcribe: int
    translate: int
    no_timestamps: int
    no_speech: int
    languages: Mapping[str, int] = field(default_factory=dict)

    @property
    def first_timestamp(self) -> int:
        """<|0.00|>; every token from here on is a time in steps of 20 ms."""
        return self.no_timestamps + 1


@dataclass(frozen=True, slots=True)
class GenerationConfig:
    """What the checkpoint says about decoding. max_initial_timestamp: in steps of 20 ms."""

    suppressed: tuple[int, ...]
    suppressed_at_start: tuple[int, ...]
    max_initial_timestamp: int | None


class Vocabulary:
    """Text to tokens and back."""

    def __init__(self, tokenizer: Tokenizer, special: SpecialTokens) -> None:
        self._tokenizer = tokenizer
        self.special = special

    def encode(self, text: str) -> list[int]:
        """Tokens of text that continues after something; special tokens in it are not recognised as such."""
        line = text.strip()
        return [token for token in self._tokenizer.encode(f" {line}", add_special_tokens=False).ids if self.is_text(token)] if line else []

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of the tokens that are text; half a character becomes U+FFFD."""
        return self._tokenizer.decode([token for token in tokens if self.is_text(token)], skip_special_tokens=False)

    def is_text(self, token: int) -> bool:
        """Whether the token stands for text."""
        return token < self.special.end


def read_vocabulary(folder: Path) -> Vocabulary:
    """Raises UnsupportedModel."""
    path = folder / TOKENIZER_FILE
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises Exception itself
        raise UnsupportedModel(f"{path} cannot be read: {error}") from error
    return Vocabulary(tokenizer, _special_tokens(tokenizer, path, read_language_tokens(folder)))


def read_generation_config(folder: Path) -> GenerationConfig:
    """Raises UnsupportedModel."""
    config = read_json(folder / GENERATION_FILE)
    return GenerationConfig(
        suppressed=tuple(config.get("suppress_tokens") or ()),
        suppressed_at_start=tuple(config.get("begin_suppress_tokens") or ()),
        max_initial_timestamp=config.get("max_initial_timestamp_index"),
    )


def _special_tokens(tokenizer: Tokenizer, path: Path, languages: Mapping[str, int]) -> SpecialTokens:
    def token(*names: str) -> int:
        for name in names:
            if (found := tokenizer.token_to_id(name)) is not None:
                return int(found)
        raise UnsupportedModel(f"{path} has no token {names[0]}")

    return SpecialTokens(
        end=token("<|endoftext|>"),
        start=token("<|startoftranscript|>"),
        previous=token("<|startofprev|>"),
        transcribe=token("<|transcribe|>"),
        translate=token("<|translate|>"),
        no_timestamps=token("<|notimestamps|>"),
        no_speech=token(*NO_SPEECH_NAMES),
        languages=languages,
    )
