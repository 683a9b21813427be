"""Datasets and models by name or id, and the paths below them."""

from collections.abc import Sequence
from urllib.parse import quote
from uuid import UUID

from services.client.api import Api, Row
from services.client.failures import CommandFailed, Refused

_NOT_FOUND = 404


def dataset_path(dataset_id: str) -> str:
    """The path of a dataset, whatever characters the id has."""
    return f"/datasets/{quote(dataset_id, safe='')}"


def training_path(training_id: str) -> str:
    """The path of a training."""
    return f"/training-jobs/{quote(training_id, safe='')}"


def model_path(model_id: str) -> str:
    """The path of a model."""
    return f"/models/{quote(model_id, safe='')}"


def inference_path(order_id: str) -> str:
    """The path of an order to run a model."""
    return f"/inference-jobs/{quote(order_id, safe='')}"


def find_dataset(api: Api, name_or_id: str) -> Row:
    """The dataset that is meant. Raises CommandFailed when there is none, or several of the name."""
    if is_id(name_or_id):
        dataset: Row = api.get(dataset_path(name_or_id))
        return dataset
    return _only(named_datasets(api, name_or_id), "dataset", name_or_id)


def named_datasets(api: Api, name: str) -> list[Row]:
    """Every dataset of the name."""
    return [row for row in api.pages("/datasets") if row["name"] == name]


def find_model(api: Api, name_or_id: str) -> Row:
    """The model that is meant. Raises CommandFailed when there is none, or several of the name."""
    if is_id(name_or_id):
        model: Row = api.get(model_path(name_or_id))
        return model
    return _only([row for row in api.pages("/models") if row["name"] == name_or_id], "model", name_or_id)


def is_id(text: str) -> bool:
    """Whether it has the form of the ids of this API."""
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def _only(found: Sequence[Row], what: str, name: str) -> Row:
    if not found:
        raise Refused(f"There is no {what} named {name}.", "", _NOT_FOUND)
    if len(found) > 1:
        raise CommandFailed(f"Several {what}s are named {name}; give the id of one: {', '.join(str(row['id']) for row in found)}")
    return found[0]
