"""Orders that no deployed model can serve are refused before their audio is fetched."""

import numpy as np
import pytest

from services.inference.domain import EngineUnavailable, LanguageNotSupported, TaskNotSupported
from services.inference.engines.local import LocalEngine
from services.inference.engines.local_pool import WorkerPool
from services.inference.orders import check_order
from services.mesh.errors import InvalidField
from steno.jobs.v1.job_pb2 import KnownSpeaker, TranscriptionConfig

TRANSLATE = TranscriptionConfig.TASK_TRANSLATE


class Polyglot(LocalEngine):
    """The local engine, as one that knows German and English would describe itself."""

    languages = ("de", "en")


class Translator(Polyglot):
    """And one that translates."""

    translates = True


class Silent(LocalEngine):
    """And one whose server has not answered yet."""

    languages = ()


def test_no_order_is_refused_for_good_before_the_model_said_what_it_knows() -> None:
    for config in (TranscriptionConfig(language="en"), TranscriptionConfig(task=TRANSLATE), TranscriptionConfig()):
        with pytest.raises(EngineUnavailable):
            check_order(config, Silent(WorkerPool(1)))


def test_a_translation_of_english_is_its_transcript() -> None:
    for language in ("", "en"):
        check_order(TranscriptionConfig(task=TRANSLATE, language=language), LocalEngine(WorkerPool(1)))


def test_an_unknown_language_is_refused_whatever_the_task() -> None:
    for task in (TRANSLATE, TranscriptionConfig.TASK_UNSPECIFIED):
        with pytest.raises(LanguageNotSupported):
            check_order(TranscriptionConfig(task=task, language="fr"), LocalEngine(WorkerPool(1)))


def test_an_engine_that_cannot_translate_refuses_to() -> None:
    engine = Polyglot(WorkerPool(1))
    check_order(TranscriptionConfig(task=TRANSLATE, language="en"), engine)
    check_order(TranscriptionConfig(language="de"), engine)
    for language in ("de", ""):
        with pytest.raises(TaskNotSupported):
            check_order(TranscriptionConfig(task=TRANSLATE, language=language), engine)
        check_order(TranscriptionConfig(task=TRANSLATE, language=language), Translator(WorkerPool(1)))


@pytest.mark.parametrize(
    "embedding",
    [b"", b"abc", np.zeros(256, "<f4").tobytes(), np.full(256, np.nan, "<f4").tobytes(), np.ones(255, "<f4").tobytes()],
    ids=["empty", "short", "zeros", "nan", "other size"],
)
def test_a_known_speaker_without_an_embedding_of_the_model_is_refused(embedding: bytes) -> None:
    engine = LocalEngine(WorkerPool(1))
    check_order(TranscriptionConfig(known_speakers=[KnownSpeaker(name="Ann", embedding=np.ones(256, "<f4").tobytes())]), engine)
    with pytest.raises(InvalidField):
        check_order(TranscriptionConfig(known_speakers=[KnownSpeaker(name="Ann", embedding=embedding)]), engine)
