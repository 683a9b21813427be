"""The environment goes above config.pbtxt."""

import json
import os
from pathlib import Path

import pytest

from services.inference.triton.parameters import Parameters, read_parameters


def test_environment_goes_above_the_configuration() -> None:
    config = {"max_batch_size": 8, "parameters": {"threads": {"string_value": "3"}, "precision": {"string_value": "auto"}}}
    arguments = {"model_config": json.dumps(config), "model_instance_kind": "GPU", "model_instance_device_id": "2"}
    found = read_parameters(arguments, {"STENO_TRITON_PRECISION": "int8", "STENO_TRITON_MODELS_DIRECTORY": "models"})
    assert (found.threads, found.text("precision"), found.text("missing")) == (3, "int8", "")
    assert (found.device_id, found.max_batch_size, found.models_directory) == (2, 8, Path("models"))


def test_processors_have_no_device_and_every_core() -> None:
    arguments = {"model_config": "{}", "model_instance_kind": "CPU", "model_instance_device_id": "7"}
    found = read_parameters(arguments, {})
    assert (found.device_id, found.max_batch_size) == (0, 1)
    assert found.threads == min(16, len(os.sched_getaffinity(0)))


@pytest.mark.parametrize("said", ["0", "-1", "two"])
def test_number_that_is_none_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match="threads"):
        _ = Parameters({"threads": said}, {}).threads
