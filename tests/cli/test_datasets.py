"""`steno datasets` against a server that plays the detection resources."""

import json
import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response

from services.datasets_cli import annotations
from tests.cli.answers import error
from tests.cli.conftest import JOB_ID, KEY, Outcome, start
from tests.cli.detection import Detection

Steno = Callable[..., Outcome]


def published(detection: Detection) -> dict[str, Any]:
    """The newest set that is published."""
    return [row for row in detection.sets.values() if row["status"] == "published"][-1]


def labels(detection: Detection) -> list[tuple[str, str, int, int]]:
    """File, type, start and end of what is published."""
    names = {row["id"]: row["original_filename"] for row in detection.audio.values()}
    return sorted(
        (names[one["audio_file_id"]], one["artifact_type"], one["start_ms"], one["end_ms"]) for one in published(detection)["annotations"]
    )


def test_folder_becomes_a_dataset_with_published_labels(datasets: Steno, detection: Detection, folder: Path) -> None:
    outcome = datasets("import", folder, "--json")
    assert outcome.status == 0, outcome.err
    told = json.loads(outcome.out)
    (dataset,) = detection.datasets.values()
    assert (dataset["name"], [one["name"] for one in dataset["artifact_types"]]) == ("calls", ["click", "hum"])
    assert (told["dataset"], told["annotation_set"], told["recordings"]) == (dataset["id"], published(detection)["id"], 3)
    sent = {detection.audio[one]["original_filename"]: content for one, content in detection.uploaded.items()}
    assert sent == {path.name: path.read_bytes() for path in (folder / "a.wav", folder / "b.mp3", folder / "deep" / "c.flac")}
    assert all(form == {"key": f"k/{one}", "policy": "signed"} for one, form in zip(detection.uploaded, detection.forms, strict=True))
    assert labels(detection) == [("a.wav", "click", 1250, 1300), ("a.wav", "hum", 2000, 4000), ("c.flac", "click", 500, 600)]
    assert {body["content_type"] for body in detection.sent("upload-url")} == {"audio/wav", "audio/mpeg", "audio/flac"}
    assert "notes.txt" in outcome.err
    assert "free of artifacts, for they have no labels: b.mp3" in outcome.err


def test_second_import_sends_nothing_that_is_there(datasets: Steno, detection: Detection, folder: Path) -> None:
    assert datasets("import", folder).status == 0
    before = len(detection.bodies)
    outcome = datasets("import", folder)
    assert (outcome.status, len(detection.bodies), len(detection.sets)) == (0, before, 1)
    assert "Version 1 holds these labels already." in outcome.err


def test_accents_of_file_systems_do_not_hide_that_a_file_is_there(datasets: Steno, detection: Detection, folder: Path) -> None:
    (folder / "cafe\u0301.wav").write_bytes(b"RIFF")
    for _ in range(2):
        assert datasets("import", folder).status == 0
    assert [body["filename"] for body in detection.sent("upload-url")] == ["a.wav", "b.mp3", "caf\u00e9.wav", "c.flac"]


def test_changed_folder_sends_what_is_new_and_publishes_the_next_version(datasets: Steno, detection: Detection, folder: Path) -> None:
    assert datasets("import", folder, "--name", "mine").status == 0
    (folder / "d.ogg").write_bytes(os.urandom(500))
    (folder / "d.txt").write_text("1\t2\tdropout\n")
    assert datasets("import", folder, "--name", "mine").status == 0
    assert [body["filename"] for body in detection.sent("upload-url")] == ["a.wav", "b.mp3", "c.flac", "d.ogg"]
    assert [one["name"] for one in next(iter(detection.datasets.values()))["artifact_types"]] == ["click", "hum", "dropout"]
    assert [row["version"] for row in detection.sets.values()] == [1, 2]
    assert ("d.ogg", "dropout", 1000, 2000) in labels(detection)
    assert len(labels(detection)) == 4


def test_import_that_was_stopped_goes_on_where_it_stopped(datasets: Steno, detection: Detection, folder: Path) -> None:
    """After an upload without its confirmation, after an announcement alone, and after a part of the labels."""
    assert datasets("import", folder).status == 0
    arrived, announced, _ = detection.audio.values()
    arrived["processing_status"] = announced["processing_status"] = "pending"
    del detection.uploaded[announced["id"]]
    (found,) = detection.sets.values()
    found["status"] = "draft"
    kept = [one for one in found["annotations"] if one["audio_file_id"] == arrived["id"]][:1]
    found["annotations"] = list(kept)
    detection.bodies.clear()
    assert datasets("import", folder).status == 0
    assert [body["filename"] for body in detection.sent("upload-url")] == ["b.mp3"]
    assert announced["id"] not in detection.audio
    assert (len(detection.sets), len(detection.sent("bulk")[0]["annotations"])) == (1, 2)
    assert len(labels(detection)) == 3


def test_draft_of_somebody_else_is_left_alone(datasets: Steno, detection: Detection, folder: Path) -> None:
    assert datasets("import", folder).status == 0
    (mine,) = detection.sets.values()
    foreign = {**mine["annotations"][0], "artifact_type": "theirs"}
    mine.update(status="draft", annotations=[foreign])
    assert datasets("import", folder).status == 0
    assert mine["annotations"] == [foreign]
    assert len(labels(detection)) == 3


def test_labels_are_written_five_hundred_at_a_time(datasets: Steno, detection: Detection, folder: Path) -> None:
    (folder / "a.txt").write_text("".join(f"{number / 1000:.3f}\t{number / 1000 + 0.005:.3f}\tclick\n" for number in range(1201)))
    assert datasets("import", folder).status == 0
    assert annotations.AT_ONCE == 500
    assert [len(body["annotations"]) for body in detection.sent("bulk")] == [500, 500, 202]
    assert len(labels(detection)) == 1202


def test_label_outside_of_its_recording_is_named_and_nothing_is_written(datasets: Steno, detection: Detection, folder: Path) -> None:
    (folder / "a.txt").write_text("1\t2\tclick\n9.5\t10.05\thum\n9\t11.5\thum\n")
    outcome = datasets("import", folder)
    assert outcome.status == 1
    assert outcome.err.splitlines()[-1] == "a.txt line 3: hum at 9.000 to 11.500 s lies outside of a.wav, which ends at 10.000 s"
    assert not detection.sets
    (folder / "a.txt").write_text("1\t2\tclick\n9.5\t10.05\thum\n")
    assert datasets("import", folder).status == 0
    assert ("a.wav", "hum", 9500, 10_000) in labels(detection)


def test_file_that_is_no_audio_is_named_and_does_not_stay(datasets: Steno, detection: Detection, folder: Path) -> None:
    detection.fail = {"b.mp3"}
    outcome = datasets("import", folder)
    assert (outcome.status, "b.mp3: This is not audio." in outcome.err) == (1, True)
    assert sorted(row["original_filename"] for row in detection.audio.values()) == ["a.wav", "c.flac"]
    assert not detection.sets
    (folder / "b.mp3").unlink()
    assert datasets("import", folder).status == 0
    assert len(detection.sent("upload-url")) == 3


def test_busy_store_gets_the_bytes_again(datasets: Steno, detection: Detection, folder: Path) -> None:
    busy = error(503, "OVERLOADED", "Come back.", **{"retry-after": "0"})
    detection.refuse["POST", "/uploads/form/01890000-0000-7000-8000-000000000001"] = busy
    assert datasets("import", folder).status == 0
    assert len(detection.uploaded) == 3


def test_refused_upload_names_its_file(datasets: Steno, detection: Detection, folder: Path) -> None:
    detection.refuse["POST", "/uploads/form/01890000-0000-7000-8000-000000000001"] = error(403, "FORBIDDEN", "No.")
    outcome = datasets("import", folder)
    assert (outcome.status, outcome.err.splitlines()[-1]) == (1, f"{folder / 'a.wav'}: No. (FORBIDDEN)")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (
            {"a.wav": "x", "a.txt": "1\t2\tx", "labels.csv": "file,start,end,label\na.wav,1,2,x"},
            "several forms: say --labels audacity or csv",
        ),
        ({"a.wav": "x", "readme.txt": "hello"}, "holds no labels"),
        ({"a.txt": "1\t2\tx"}, "holds no recording"),
        ({"a.wav": "x", "a.mp3": "x", "a.txt": "1\t2\tx"}, "a.mp3 and a.wav would share their labels"),
        ({"1/a.wav": "x", "2/a.wav": "x"}, "several recordings named a.wav"),
        ({"a.wav": "", "a.txt": "1\t2\tx"}, "a.wav"),
        ({"a.wav": "x", "a.txt": "\n"}, "holds not one label"),
        ({"a.wav": "x", "a.txt": "1\t2\tx\nhello\n"}, "a.txt line 2: a start, an end and a label"),
        ({"a.wav": "x", "labels.csv": "file,start,end,label\na.wav,1,2,x\nb.wav,1,2,x"}, "labels.csv line 3: there is no recording b.wav"),
        ({"a.wav": "x", "1.csv": "file,start,end,label", "2.csv": "file,start,end,label"}, "holds 2 CSV files"),
    ],
)
def test_unusable_folder_is_refused_before_anything_is_sent(
    datasets: Steno, detection: Detection, tmp_path: Path, names: dict[str, str], sentence: str
) -> None:
    found = tmp_path / "folder"
    for name, text in names.items():
        (found / name).parent.mkdir(parents=True, exist_ok=True)
        (found / name).write_text(text)
    outcome = datasets("import", found)
    assert outcome.status == 1
    assert sentence in outcome.err
    assert not detection.bodies


def test_text_that_is_not_utf_8_is_named(datasets: Steno, folder: Path) -> None:
    (folder / "a.txt").write_bytes(b"1\t2\tKl\xfcck\n")
    assert datasets("import", folder).err.splitlines()[-1] == "a.txt: byte 6 is not UTF-8"


@pytest.mark.parametrize("form", ["csv", "jams"])
def test_labels_of_other_forms_are_imported(datasets: Steno, detection: Detection, tmp_path: Path, form: str) -> None:
    found = tmp_path / "calls"
    (found / "x").mkdir(parents=True)
    (found / "x" / "a.wav").write_bytes(b"RIFF")
    observation = {"time": 1.25, "duration": 0.05, "value": "click", "confidence": 1}
    document = {"annotations": [{"namespace": "segment_open", "data": [observation]}]}
    (found / "x" / "a.jams").write_text(json.dumps(document))
    (found / "all.csv").write_text("\ufefffile,start_ms,end_ms,label\nx/a.wav,2000,3000,hum\na.wav,1,2,click\n", encoding="utf-8")
    assert datasets("import", found, "--labels", form).status == 0
    by_table = [("a.wav", "click", 1, 2), ("a.wav", "hum", 2000, 3000)]
    assert labels(detection) == ([("a.wav", "click", 1250, 1300)] if form == "jams" else by_table)


def test_datasets_are_made_listed_shown_and_deleted(datasets: Steno, detection: Detection, folder: Path) -> None:
    made = datasets("create", "calls", "--types", "click, hum,click").out.strip()
    assert detection.sent("/datasets") == [{"name": "calls", "artifact_types": [{"name": "click"}, {"name": "hum"}]}]
    for name in ("b", "c"):
        datasets("create", name)
    assert [line.split("\t")[1] for line in datasets("list").out.splitlines()] == ["calls", "b", "c"]
    datasets("import", folder)
    shown = datasets("show", "calls").out
    assert made in shown
    assert "3 ready; 0:30 in all" in shown
    assert shown.splitlines()[-1].split("\t")[1:5] == ["1", "published", "3", "2.150 s"]
    assert json.loads(datasets("show", made, "--json").out)["annotation_sets"][0]["status"] == "published"
    assert datasets("delete", "calls").status == 2
    assert made in detection.datasets
    assert datasets("delete", "calls", "--yes").status == 0
    assert made not in detection.datasets


def test_name_of_several_or_none_is_refused(datasets: Steno, detection: Detection, folder: Path) -> None:
    ids = [datasets("create", "twice").out.strip() for _ in range(2)]
    outcome = datasets("show", "twice")
    assert outcome == Outcome(1, "", f"Several datasets are named twice; give the id of one: {', '.join(ids)}\n")
    assert datasets("import", folder, "--name", "twice").status == 1
    assert datasets("import", folder, "--name", ids[1]).status == 0
    assert datasets("show", "absent") == Outcome(1, "", "There is no dataset named absent.\n")
    assert datasets("show", JOB_ID.replace("1890", "1990")).err == "There is nothing here. (NOT_FOUND)\n"


def test_audio_of_a_transcription_joins_a_dataset(datasets: Steno, detection: Detection) -> None:
    datasets("create", "calls")
    assert datasets("add-job", "calls", JOB_ID) == Outcome(0, "copied\n", "")
    assert detection.sent("from-job") == [{"job_id": JOB_ID}]


def test_training_orders_the_newest_published_labels(datasets: Steno, detection: Detection, folder: Path) -> None:
    datasets("import", folder)
    outcome = datasets("train", "calls", "--epochs", "3", "--learning-rate", "0.01")
    (order,) = detection.sent("/training-jobs")
    assert order["annotation_set_id"] == published(detection)["id"]
    assert order["config"] == {"artifact_types": ["click", "hum"], "epochs": 3, "learning_rate": 0.01}
    assert outcome.out.strip() in detection.trainings
    assert f"steno datasets watch {outcome.out.strip()}" in outcome.err
    datasets("train", "calls", "--types", "hum")
    assert detection.sent("/training-jobs")[1]["config"] == {"artifact_types": ["hum"]}
    assert "no published annotation set of version 9" in datasets("train", "calls", "--set", "9").err


@pytest.mark.parametrize("option", [("--epochs", "101"), ("--epochs", "0"), ("--validation-split", "0.6"), ("--batch-size", "7")])
def test_training_beyond_its_ranges_is_a_usage_error(datasets: Steno, detection: Detection, option: tuple[str, str]) -> None:
    assert datasets("train", "calls", *option).status == 2
    assert not detection.bodies


def test_watched_training_tells_each_epoch_and_then_each_type(datasets: Steno, detection: Detection, folder: Path) -> None:
    datasets("import", folder)
    outcome = datasets("train", "calls", "--epochs", "3", "--watch")
    assert outcome.status == 0
    assert [line for line in outcome.err.splitlines() if line.startswith("epoch")] == [
        "epoch   1/3  loss 1.0000  held-out loss 2.0000  F1 0.250",
        "epoch   2/3  loss 0.5000  held-out loss 1.0000  F1 0.500",
        "epoch   3/3  loss 0.3333  held-out loss 0.6667  F1 0.750",
    ]
    assert [line.split("\t") for line in outcome.out.splitlines()] == [
        ["click", "0.900", "0.800", "0.847", "7"],
        ["hum", "0.900", "0.800", "0.847", "7"],
        ["mean", "0.900", "0.800", "0.847", "14"],
    ]
    assert next(iter(detection.models)) in outcome.err


def test_watch_as_json_is_a_line_for_each_state(datasets: Steno, detection: Detection, folder: Path) -> None:
    datasets("import", folder)
    training = datasets("train", "calls").out.strip()
    states = [json.loads(line) for line in datasets("watch", training, "--json").out.splitlines()]
    assert [(row["status"], len(row["metrics"])) for row in states] == [("running", 1), ("completed", 3)]


@pytest.mark.parametrize(
    ("end", "sentence"),
    [
        ({"status": "failed", "error_message": "Nothing was learned.", "model_id": None}, "failed: Nothing was learned."),
        ({"status": "cancelled", "model_id": None}, "was cancelled."),
    ],
)
def test_training_that_made_no_model_fails_the_command(
    datasets: Steno, detection: Detection, folder: Path, end: dict[str, Any], sentence: str
) -> None:
    detection.training_end = end
    datasets("import", folder)
    training = datasets("train", "calls").out.strip()
    outcome = datasets("watch", training)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.splitlines()[-1] == f"Training {training} {sentence}"


def test_training_is_cancelled(datasets: Steno, detection: Detection) -> None:
    assert datasets("cancel", JOB_ID).status == 0
    assert [path for path, _ in detection.bodies] == [f"/training-jobs/{JOB_ID}/cancel"]


def test_models_are_listed_with_their_score(datasets: Steno, detection: Detection) -> None:
    detection.add_model(JOB_ID, ["click", "hum"])
    assert datasets("models").out == f"{JOB_ID}\tartefacts\tclick, hum\t0.847\tyes\t\n"


def test_server_that_goes_away_is_told_with_what_to_do(datasets: Steno, detection: Detection, folder: Path) -> None:
    detection.refuse["POST", "/datasets"] = Response("<html>", 502)
    assert "is it a Steno server?" in datasets("import", folder).err


def test_bars_are_drawn_on_a_terminal(detection: Detection, folder: Path) -> None:
    leader, follower = pty.openpty()
    process = start(detection.url, "datasets", "import", str(folder), "--json", stdout=subprocess.PIPE, stderr=follower)
    out, _ = process.communicate(timeout=60)
    os.close(follower)
    drawn = os.read(leader, 100_000)
    os.close(leader)
    assert (process.returncode, json.loads(out)["annotations"]) == (0, 3)
    assert b"Uploading" in drawn
    assert KEY.encode() not in drawn
