"""The local engine runs an installed Whisper as it runs its own recogniser."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from services.inference.engines.engine import Engine, LanguageUnsupported, WindowFailed, WindowParameters
from services.inference.engines.local import LocalEngine
from services.inference.engines.local_whisper import LocalWhisperEngine, open_local_whisper, plan_processes
from services.inference.engines.opening import open_engine
from services.inference.models.catalogue.bundled import install_bundled
from services.inference.models.catalogue.installed import InstalledModel
from services.inference.models.whisper.model import WhisperModel, WhisperRequest, load_whisper
from services.inference.models.whisper.precision import Precision
from services.inference.models.whisper.prompts import Task
from services.inference.pcm import Pcm
from services.inference.settings import InferenceSettings
from services.mesh.settings import UnusableSettings
from tests.inference.models.tiny_whisper import build_tiny_whisper

GIB = 1 << 30


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> InstalledModel:
    """A small Whisper of random numbers, installed."""
    folder = tmp_path_factory.mktemp("models")
    return install_bundled(folder / "installed", source=build_tiny_whisper(folder / "checkpoint"))


@pytest.fixture(scope="module")
def beside(model: InstalledModel) -> WhisperModel:
    """The same model in this process."""
    return load_whisper(model.folder, Precision.FP32)


@pytest.fixture
async def whisper(model: InstalledModel) -> AsyncIterator[LocalWhisperEngine]:
    """The engine over one process."""
    async with open_local_whisper(model, Precision.FP32, processes=1) as engine:
        yield engine


@pytest.fixture
def window() -> Pcm:
    """Four seconds of noise."""
    return (np.random.default_rng(4).standard_normal(64_000) * 3_000).astype(np.int16)


async def test_windows_come_out_as_the_model_has_them(whisper: LocalWhisperEngine, beside: WhisperModel, window: Pcm) -> None:
    parameters = WindowParameters(language="es", prompt="so it is", hotwords=("Ada", "Grace"), temperature=0.4)
    found = await whisper.transcribe_window(window, parameters)
    task = Task("es", hotwords="Ada, Grace", text="so it is")
    assert found == beside.transcribe([WhisperRequest(window, task, 0.4)])[0].window
    assert found.language == "es"
    assert found.temperature is not None


async def test_the_engine_tells_what_the_model_can(whisper: LocalWhisperEngine, model: InstalledModel) -> None:
    engine: Engine = whisper
    assert (engine.name, engine.model, engine.languages) == ("local", model.name, ("en", "es"))
    assert (engine.translates, engine.max_window_seconds, engine.punctuates) == (False, 30.0, True)


async def test_a_language_that_the_model_never_learned_is_refused(whisper: LocalWhisperEngine, window: Pcm) -> None:
    with pytest.raises(LanguageUnsupported, match="fr"):
        await whisper.transcribe_window(window, WindowParameters("fr"))


async def test_a_window_survives_the_death_of_its_process(whisper: LocalWhisperEngine, beside: WhisperModel, window: Pcm) -> None:
    await whisper.check()
    (pid,) = whisper.pids
    task = asyncio.create_task(whisper.transcribe_window(window, WindowParameters("en")), name="window")
    await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    assert (await task) == beside.transcribe([WhisperRequest(window, Task("en"))])[0].window
    assert pid not in whisper.pids


async def test_a_window_that_is_too_long_fails_alone(whisper: LocalWhisperEngine, window: Pcm) -> None:
    with pytest.raises(WindowFailed):
        await whisper.transcribe_window(np.tile(window, 10), WindowParameters("en"))
    await whisper.transcribe_window(window, WindowParameters("en"))


def test_processes_are_bounded_by_cores_and_by_memory() -> None:
    assert plan_processes(50 << 20, cores=8, memory_bytes=16 * GIB) == 8
    assert plan_processes(GIB, cores=8, memory_bytes=16 * GIB) == 4
    assert plan_processes(3 * GIB, cores=8, memory_bytes=4 * GIB) == 1


async def test_the_settings_choose_the_model(model: InstalledModel, tmp_path: Path) -> None:
    async with open_engine(InferenceSettings(models_directory=tmp_path)) as engine:
        assert (engine.model, engine.max_window_seconds) == (LocalEngine.model, 15.0)
    directory = tmp_path / "models"
    directory.mkdir()
    (directory / "whisper-small").symlink_to(model.folder)
    settings = InferenceSettings(model="small", models_directory=directory, precision="fp32", engine_processes=1)
    async with open_engine(settings) as engine:
        assert engine.max_window_seconds == 30.0


@pytest.mark.parametrize(("name", "advice"), [("small", "steno models pull small"), ("of-our-own", "steno models list")])
async def test_a_model_that_is_not_there_says_what_to_do(name: str, advice: str, tmp_path: Path) -> None:
    with pytest.raises(UnusableSettings, match=advice):
        async with open_engine(InferenceSettings(model=name, models_directory=tmp_path)):
            pass


async def test_a_precision_that_is_not_there_says_what_to_do(model: InstalledModel, tmp_path: Path) -> None:
    (tmp_path / "whisper-small").symlink_to(model.folder)
    with pytest.raises(UnusableSettings, match=r"steno models export .* --precision fp16"):
        async with open_engine(InferenceSettings(model="small", models_directory=tmp_path, precision="fp16")):
            pass
