"""`steno datasets train` and `watch`: an order to train a detector, followed epoch by epoch."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from services.client.api import Api, Row, open_api
from services.client.display import print_table, say
from services.client.failures import CommandFailed, Interrupted, Unreachable
from services.client.polling import poll
from services.datasets_cli.finding import dataset_path, find_dataset, model_path, training_path
from services.datasets_cli.progress import share_bar

_ENDED = frozenset({"completed", "failed", "cancelled"})
_COLUMNS = ("TYPE", "PRECISION", "RECALL", "F1", "EVENTS")


def train(name_or_id: str, version: int, artifact_types: Sequence[str], options: Mapping[str, Any], follow: bool, as_json: bool) -> None:
    """Order a training on a published set, the newest when version is 0; print its id, or follow it. Raises CommandFailed."""
    with open_api() as api:
        dataset = find_dataset(api, name_or_id)
        labels = _published_set(api, dataset, version)
        types = list(artifact_types) or sorted(labels["annotations_by_type"])
        config = {"artifact_types": types, **{name: value for name, value in options.items() if value is not None}}
        order = {"dataset_id": dataset["id"], "annotation_set_id": labels["id"], "config": config}
        training_id = str(api.post("/training-jobs", order)["id"])
        if not follow:
            print(training_id)
            say(f"`steno datasets watch {training_id}` follows it.")
            return
        _watch(api, training_id, as_json)


def watch(training_id: str, as_json: bool) -> None:
    """Follow a training to its end; with as_json every state is a line. Raises CommandFailed, also when it failed."""
    with open_api() as api:
        _watch(api, training_id, as_json)


def cancel(training_id: str) -> None:
    """End a training that has not ended. Raises CommandFailed."""
    with open_api() as api:
        api.post(f"{training_path(training_id)}/cancel", {})
    say(f"Training {training_id} is cancelled.")


def print_scores(metrics: Row) -> None:
    """How well each type was found in the files held out, and the mean of all."""
    rows = [(name, *_figures(scores), str(scores["support"])) for name, scores in sorted(metrics["per_class"].items())]
    support = sum(int(scores["support"]) for scores in metrics["per_class"].values())
    print_table(_COLUMNS, [*rows, ("mean", *_figures(metrics), str(support))])


def _published_set(api: Api, dataset: Row, version: int) -> Row:
    """Raises CommandFailed when there is none."""
    sets: Sequence[Row] = api.get(f"{dataset_path(str(dataset['id']))}/annotation-sets")["items"]
    published = [row for row in sets if row["status"] == "published" and version in (0, row["version"])]
    if not published:
        wanted = f"published annotation set of version {version}" if version else "published annotation set"
        raise CommandFailed(f"{dataset['name']} has no {wanted}: `steno datasets import` makes one.")
    return max(published, key=lambda row: int(row["version"]))


def _watch(api: Api, training_id: str, as_json: bool) -> None:
    later = f"The training goes on without you: `steno datasets watch {training_id}` follows it."
    try:
        job = _follow(api, training_id, as_json)
    except KeyboardInterrupt as error:
        raise Interrupted(later) from error
    except Unreachable as error:
        raise CommandFailed(f"{error}\n{later}") from error
    if job["status"] != "completed":
        reason = job.get("error_message") or "the server gave no reason"
        raise CommandFailed(f"Training {training_id} " + ("was cancelled." if job["status"] == "cancelled" else f"failed: {reason}"))
    if not as_json:
        print_scores(api.get(model_path(str(job["model_id"])))["eval_metrics"])
        say(f"Model {job['model_id']} is trained: `steno datasets detect {job['model_id']} FILE` runs it.")


def _follow(api: Api, training_id: str, as_json: bool) -> Row:
    def ask() -> Row:
        job: Row = api.get(training_path(training_id))
        return job

    def has_ended(job: Row) -> bool:
        return job["status"] in _ENDED

    if as_json:
        return poll(ask, has_ended, _state_printer())
    with share_bar("Training") as told:
        say_epochs = _epoch_teller()

        def on_change(job: Row) -> None:
            told(float(job["progress"]))
            say_epochs(job)

        return poll(ask, has_ended, on_change)


def _state_printer() -> Callable[[Row], None]:
    """Prints every state that differs from the last."""
    seen: list[str] = []

    def show(job: Row) -> None:
        line = json.dumps(job, ensure_ascii=False)
        if seen[-1:] != [line]:
            print(line, flush=True)
            seen[:] = [line]

    return show


def _epoch_teller() -> Callable[[Row], None]:
    """Says each epoch once."""
    told: set[int] = set()

    def tell(job: Row) -> None:
        for row in job["metrics"]:
            if row["epoch"] not in told:
                told.add(row["epoch"])
                say(_epoch(row, int(job["config"]["epochs"])))

    return tell


def _epoch(row: Row, epochs: int) -> str:
    losses = f"loss {_figure(row['training_loss'], 4)}  held-out loss {_figure(row['validation_loss'], 4)}"
    return f"epoch {row['epoch']:>3}/{epochs}  {losses}  F1 {_figure(row['validation_f1_score'], 3)}"


def _figures(scores: Row) -> tuple[str, str, str]:
    return _figure(scores["precision"], 3), _figure(scores["recall"], 3), _figure(scores["f1_score"], 3)


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
