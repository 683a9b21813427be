"""Where `deploy/triton` lies: beside the services in a source folder, inside the package in an installation."""

from pathlib import Path

import services
from services.stack.triton.failures import TritonUnavailable

_SOURCE = Path(services.__file__).parents[1] / "deploy" / "triton"
_INSTALLED = Path(__file__).with_name("deployment")


def find_deployment() -> Path:
    """The folder with `model_repository` and `requirements.lock`. Raises TritonUnavailable."""
    for folder in (_INSTALLED, _SOURCE):
        if (folder / "requirements.lock").is_file():
            return folder
    raise TritonUnavailable(f"{_INSTALLED} is missing: install Steno again")
