"""The model that `steno up --model` names."""

import os
from collections.abc import Mapping
from pathlib import Path

from services.client.failures import CommandFailed
from services.stack.data_directory import DataDirectory


def choose_model(data: DataDirectory, name: str) -> Mapping[str, str]:
    """What tells the services, once the model was found; nothing for no name. Raises CommandFailed with what to do."""
    if not name:
        return {}
    from services.inference.engines.local import LocalEngine
    from services.inference.models.catalogue.bundled import TEST_MODEL
    from services.inference.models.catalogue.errors import ModelError
    from services.inference.models.catalogue.installed import find_model

    if name not in (TEST_MODEL, LocalEngine.model):
        directory = Path(os.environ.get("STENO_INFERENCE_MODELS_DIRECTORY") or data.models)
        try:
            name = find_model(directory, name).name
        except ModelError as error:
            raise CommandFailed(f"Steno did not start: {error}") from error
    return {"STENO_INFERENCE_MODEL": name}
