"""The engine that the settings ask for."""

import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from services.inference.engines.engine import Engine
from services.inference.engines.local import LocalEngine, open_local_engine
from services.inference.engines.local_whisper import open_local_whisper
from services.inference.models.catalogue.bundled import find_or_install
from services.inference.models.catalogue.errors import ModelError
from services.inference.models.catalogue.installed import InstalledModel
from services.inference.models.whisper.precision import Precision
from services.inference.settings import InferenceSettings
from services.mesh.settings import UnusableSettings
from services.mesh.telemetry import get_logger
from services.mesh.tls.certificates import Certificates


@asynccontextmanager
async def open_engine(settings: InferenceSettings, tls: Certificates | None = None) -> AsyncIterator[Engine]:
    """The engine, told in the log. tls: what Triton is shown. Raises UnusableSettings for a model that is not there."""
    async with _chosen(settings, tls) as engine:
        get_logger("inference").info("engine opened", engine=engine.name, model=engine.model)
        yield engine


def _chosen(settings: InferenceSettings, tls: Certificates | None) -> AbstractAsyncContextManager[Engine]:
    if settings.engine == "triton":
        # Needs packages of gRPC and a quarter of a second that a local engine does without.
        from services.inference.engines.triton.engine import open_triton_engine

        return open_triton_engine(settings, tls)
    return _local(settings)


def _local(settings: InferenceSettings) -> AbstractAsyncContextManager[Engine]:
    if settings.model in ("", LocalEngine.model):
        return open_local_engine(settings.engine_processes or os.cpu_count() or 1)
    model, precision = _choose(settings)
    return open_local_whisper(model, precision, processes=settings.engine_processes, beams=settings.beams)


def _choose(settings: InferenceSettings) -> tuple[InstalledModel, Precision]:
    """The installed model and the precision to run it at. Raises UnusableSettings, with what to do."""
    try:
        model = find_or_install(settings.models_directory, settings.model, settings.precision)
        precision = model.choose_precision(settings.precision)
    except ModelError as error:
        raise UnusableSettings(f"STENO_INFERENCE_MODEL: {error}") from error
    if model.test:
        get_logger("inference").warning("this is a test model, of no use for real speech", model=model.name)
    return model, precision
