"""The tokens that a window's decoding starts from."""

from dataclasses import dataclass

from services.inference.models.whisper.vocabulary import Vocabulary

TOKENS_PER_SECOND = 25
# Of languages whose words are in the vocabulary whole; elsewhere a character may take three tokens.
FEW_TOKENS_PER_SECOND = 8
FEW_TOKENS = frozenset({"de", "en", "es", "fr", "it", "nl", "pt"})
SPARE_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Prompt:
    """tokens: `<|startofprev|>` and text if there is any, then the start. start: where `<|startoftranscript|>` is."""

    tokens: tuple[int, ...]
    start: int
    timestamps: bool


@dataclass(frozen=True, slots=True)
class Task:
    """What to do with a window. language: ISO 639-1, None only for models of English. text: what was said before."""

    language: str | None
    translate: bool = False
    timestamps: bool = False
    hotwords: str = ""
    text: str = ""


def build_prompt(vocabulary: Vocabulary, task: Task, context: int) -> Prompt:
    """Hotwords and the end of the text share one budget of half the context: 223 tokens of 448.

    Hotwords come first and are cut at their end; text gets the rest and is cut at its start, for its last words are the nearest.
    """
    budget = context // 2 - 1
    hotwords = vocabulary.encode(task.hotwords)[:budget]
    text = vocabulary.encode(task.text)
    before = hotwords + text[max(0, len(text) - (budget - len(hotwords))) :]
    previous = [vocabulary.special.previous, *before] if before else []
    return Prompt((*previous, *start_sequence(vocabulary, task)), len(previous), task.timestamps)


def start_sequence(vocabulary: Vocabulary, task: Task) -> list[int]:
    """From `<|startoftranscript|>` on."""
    special = vocabulary.special
    tokens = [special.start]
    if special.languages and task.language is not None:
        tokens += [special.languages[task.language], special.translate if task.translate else special.transcribe]
    return tokens if task.timestamps else [*tokens, special.no_timestamps]


def token_limit(duration_seconds: float, language: str | None, prompt: Prompt, context: int) -> int:
    """The most tokens that speech of this length can need: a loop ends there and not at the end of the context."""
    rate = FEW_TOKENS_PER_SECOND if language in FEW_TOKENS else TOKENS_PER_SECOND
    return min(int(duration_seconds * rate) + SPARE_TOKENS, context - len(prompt.tokens))
