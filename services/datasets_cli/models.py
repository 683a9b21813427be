"""`steno datasets models`: the detectors that were trained."""

from services.client.api import Row, open_api
from services.client.display import local_time, print_json, print_table

_COLUMNS = ("MODEL", "NAME", "TYPES", "F1", "ACTIVE", "CREATED")


def list_models(as_json: bool) -> None:
    """Print every detector, newest first. Raises CommandFailed."""
    with open_api() as api:
        models = list(api.pages("/models"))
    if as_json:
        print_json(models)
    else:
        print_table(_COLUMNS, [_cells(model) for model in models])


def _cells(model: Row) -> tuple[str, ...]:
    score = f"{model['eval_metrics']['f1_score']:.3f}"
    active = "yes" if model["is_active"] else "no"
    return (str(model["id"]), str(model["name"]), ", ".join(model["artifact_types"]), score, active, local_time(model.get("created_at")))
