"""Whether an order can be served at all, asked before its audio is fetched."""

from services.inference.domain import LanguageNotSupported, TaskNotSupported
from services.inference.engines.engine import Engine
from services.inference.speakers import read_voices
from steno.jobs.v1.job_pb2 import TranscriptionConfig

ENGLISH = "en"


def check_order(config: TranscriptionConfig, engine: Engine) -> None:
    """Raises LanguageNotSupported, TaskNotSupported, or InvalidField for a known speaker that is no embedding of this model."""
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
