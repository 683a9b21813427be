"""What a model is told: `parameters` of its config.pbtxt, and the environment above them."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PREFIX = "STENO_TRITON_"
AUTO = "auto"
MOST_THREADS = 16


@dataclass(frozen=True)
class Parameters:
    """Strings by name. device_id: the GPU that Triton gave to this instance, where there is one. folder: of the model's program."""

    configured: Mapping[str, str]
    environment: Mapping[str, str]
    device_id: int = 0
    max_batch_size: int = 1
    folder: Path = Path()

    def text(self, name: str) -> str:
        """STENO_TRITON_<NAME>, else what config.pbtxt says, else nothing."""
        return self.environment.get(f"{PREFIX}{name.upper()}") or self.configured.get(name, "")

    def number(self, name: str) -> int:
        """Raises ValueError unless it is a positive whole number."""
        found = self.text(name)
        if not found.isdecimal() or int(found) < 1:
            raise ValueError(f"{name} is a positive number or auto, not {found!r}")
        return int(found)

    @property
    def threads(self) -> int:
        """For the work of one batch: as many as the process has cores, if nobody says otherwise. Raises ValueError."""
        if self.text("threads") in ("", AUTO):
            return min(MOST_THREADS, len(os.sched_getaffinity(0)))
        return self.number("threads")

    @property
    def models_directory(self) -> Path:
        """Where the pulled models lie."""
        return Path(self.text("models_directory"))


def read_parameters(arguments: Mapping[str, str], environment: Mapping[str, str]) -> Parameters:
    """arguments: those of the backend's `initialize`."""
    config: dict[str, Any] = json.loads(arguments["model_config"])
    configured = {name: value["string_value"] for name, value in config.get("parameters", {}).items()}
    device_id = int(arguments["model_instance_device_id"]) if arguments.get("model_instance_kind") == "GPU" else 0
    folder = Path(arguments.get("model_repository", "")) / arguments.get("model_version", "")
    return Parameters(configured, environment, device_id, max(1, int(config.get("max_batch_size", 0))), folder)
