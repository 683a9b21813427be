"""Whether an order can be served at all, asked before its audio is fetched."""

import math
import re
from typing import Final

from services.inference.domain import EngineUnavailable, LanguageNotSupported, TaskNotSupported
from services.inference.engines.engine import Engine
from services.inference.speakers import read_voices
from services.mesh.errors import InvalidField
from steno.jobs.v1.job_pb2 import TranscriptionConfig

ENGLISH = "en"
# As jobs limits its orders, which have passed there.
MAX_SPEAKER_COUNT: Final = 20
MAX_PROMPT_BYTES: Final = 4096
MAX_KNOWN_SPEAKERS: Final = 4
MAX_NAME_CHARACTERS: Final = 64
_SPEAKER_COUNTS = ("speaker_count", "min_speaker_count", "max_speaker_count")
_LANGUAGE_TAG = re.compile(r"([a-z]{2})([-_][a-z0-9]{2,8})*")


def accepted_config(asked: TranscriptionConfig) -> TranscriptionConfig:
    """The order of a caller, its language as a code; empty for "auto". Raises InvalidField."""
    for name in _SPEAKER_COUNTS:
        _check(0 <= getattr(asked, name) <= MAX_SPEAKER_COUNT, name, f"{name} is 0 to {MAX_SPEAKER_COUNT}.")
    in_order = not 0 < asked.max_speaker_count < asked.min_speaker_count
    _check(in_order, "min_speaker_count", "min_speaker_count is at most max_speaker_count.")
    _check(len(asked.prompt.encode()) <= MAX_PROMPT_BYTES, "prompt", f"A prompt has at most {MAX_PROMPT_BYTES} bytes.")
    _check(asked.task in TranscriptionConfig.Task.values(), "task", "task is not one that Steno knows.")
    _check(math.isfinite(asked.temperature) and 0 <= asked.temperature <= 1, "temperature", "temperature is 0 to 1.")
    names = [speaker.name for speaker in asked.known_speakers]
    few = len(set(names)) == len(names) <= MAX_KNOWN_SPEAKERS
    _check(few, "known_speakers", f"At most {MAX_KNOWN_SPEAKERS} speakers can be known, each by a name of its own.")
    named = all(0 < len(name) <= MAX_NAME_CHARACTERS for name in names)
    _check(named, "known_speakers", f"The name of a known speaker has 1 to {MAX_NAME_CHARACTERS} characters.")
    config = TranscriptionConfig()
    config.CopyFrom(asked)
    config.language = _language_code(asked.language)
    return config


def _check(fit: bool, name: str, sentence: str) -> None:
    if not fit:
        raise InvalidField(sentence, field=f"config.{name}")


def _language_code(asked: str) -> str:
    tag = asked.lower()
    if tag in ("", "auto"):
        return ""
    match = _LANGUAGE_TAG.fullmatch(tag)
    _check(match is not None, "language", "language is an ISO 639-1 code.")
    return match[1] if match else ""


def check_order(config: TranscriptionConfig, engine: Engine) -> None:
    """Raises LanguageNotSupported, TaskNotSupported, or InvalidField for a known speaker that is no embedding of this model.

    Raises EngineUnavailable while the engine cannot tell what it knows.
    """
    if not engine.languages:
        raise EngineUnavailable("The speech model has not answered yet.")
    _check_language(config, engine)
    _check_task(config, engine)
    read_voices(config.known_speakers)


def _check_language(config: TranscriptionConfig, engine: Engine) -> None:
    language = config.language
    if language and language not in engine.languages:
        known = ", ".join(engine.languages)
        raise LanguageNotSupported(f"The speech model {engine.model} understands {known}, not {language}.", language=language)


def _check_task(config: TranscriptionConfig, engine: Engine) -> None:
    """English needs no translation into English."""
    if config.task != TranscriptionConfig.TASK_TRANSLATE or engine.translates:
        return
    spoken = (config.language,) if config.language else engine.languages
    if tuple(spoken) != (ENGLISH,):
        raise TaskNotSupported(f"The speech model {engine.model} does not translate.", task="translate")
