"""What `steno up --engine triton` needs before it starts: the interpreter of the models, and the speech model itself."""

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from services.stack.certificates.folder import CertificatePaths
from services.stack.data_directory import DataDirectory
from services.stack.triton.deployment import find_deployment
from services.stack.triton.failures import TritonUnavailable
from services.stack.triton.interpreter import open_interpreter
from services.stack.triton.python import Python
from services.stack.triton.server import TritonServer, open_to_its_user

ADDRESS = "STENO_INFERENCE_TRITON_ADDRESS"
_MODEL = "STENO_INFERENCE_MODEL"
_PRECISION = "STENO_INFERENCE_PRECISION"
_BEAMS = "STENO_INFERENCE_BEAMS"
_DIRECTORY = "STENO_INFERENCE_MODELS_DIRECTORY"


@dataclass(frozen=True)
class EmbeddedTriton:
    """A Triton of our own. model: name of the speech model; precision: of its graphs."""

    folder: Path
    address: str
    python: Python
    models_directory: Path
    model: str
    precision: str
    beams: str

    def server(self, metrics_port: int, tls: CertificatePaths | None = None) -> TritonServer:
        """The server, which tells its metrics on the port. tls: for clients with certificates alone."""
        variables = {
            "STENO_TRITON_MODELS_DIRECTORY": str(self.models_directory),
            "STENO_TRITON_WHISPER_MODEL": self.model,
            "STENO_TRITON_PRECISION": self.precision,
            "STENO_TRITON_BEAMS": self.beams,
        }
        repository = find_deployment() / "model_repository"
        return TritonServer(
            self.folder,
            self.python,
            repository,
            self.address,
            metrics_port,
            variables=variables,
            detectors=self.folder / "detectors",
            tls=tls,
        )


def prepare_triton(data: DataDirectory, overrides: Mapping[str, str], progress: Callable[[str], None]) -> EmbeddedTriton | None:
    """Make what is missing. None when the environment names a Triton that runs elsewhere.

    Raises TritonUnavailable, DataDirectoryError.
    """
    environment = {**os.environ, **overrides}
    if environment.get(ADDRESS):
        return None
    address = open_to_its_user(data.triton)
    with ExitStack() as stack:
        stack.enter_context(data.locked(progress))
        python = open_interpreter(data.triton_interpreter, progress)
        directory = Path(environment.get(_DIRECTORY) or data.models)
        model, precision = _find_model(directory, environment.get(_MODEL, ""), environment.get(_PRECISION) or "auto")
    return EmbeddedTriton(data.triton, address, python, directory, model, precision, environment.get(_BEAMS) or "1")


def _find_model(directory: Path, name: str, precision: str) -> tuple[str, str]:
    """The installed model's name and the precision that this machine runs. Raises TritonUnavailable."""
    try:
        from services.inference.models.catalogue.bundled import TEST_MODEL, find_or_install
        from services.inference.models.catalogue.errors import ModelError
    except ImportError as error:
        raise TritonUnavailable(f"the speech models' packages do not load: {error}; install steno[inference,whisper-export]") from error
    try:
        found = find_or_install(directory, name or TEST_MODEL, precision)
        return found.name, found.choose_precision(precision).value
    except (ModelError, ValueError) as error:
        raise TritonUnavailable(str(error)) from error
