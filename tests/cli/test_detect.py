"""`steno datasets detect` against a server that plays the detection resources."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.answers import error
from tests.cli.conftest import JOB_ID, Outcome
from tests.cli.detection import FOUND, Detection

Steno = Callable[..., Outcome]


def test_detections_are_printed_and_thresholds_sent(datasets: Steno, detection: Detection, folder: Path) -> None:
    detection.add_model(JOB_ID, ["click", "hum"])
    files = (folder / "a.wav", folder / "b.mp3")
    outcome = datasets("detect", "artefacts", *files, "--threshold", "0.7", "--merge-window", "0", "--min-duration", "20")
    rows = [line.split("\t") for line in outcome.out.splitlines()]
    assert (outcome.status, rows[0]) == (0, [str(files[0]), "click", "1.250", "1.300", "0.91"])
    assert rows[1] == [str(files[0]), "hum", "4.000", "6.500", "0.77"]
    assert [row[0] for row in rows[2:]] == [str(files[1])] * 2
    assert detection.sent("/inference-jobs") == [
        {"model_id": JOB_ID, "config": {"threshold": 0.7, "merge_window_ms": 0, "min_duration_ms": 20}}
    ]
    assert list(detection.uploaded.values()) == [file.read_bytes() for file in files]


def test_file_that_fails_fails_the_command_and_not_the_others(datasets: Steno, detection: Detection, folder: Path) -> None:
    detection.add_model(JOB_ID, ["click"])
    detection.fail = {"a.wav"}
    outcome = datasets("detect", JOB_ID, folder / "a.wav", folder / "b.mp3")
    assert (outcome.status, outcome.err.splitlines()[-1]) == (1, f"{folder / 'a.wav'}: This is not audio.")
    assert [line.split("\t")[0] for line in outcome.out.splitlines()] == [str(folder / "b.mp3")] * 2


def test_file_that_is_refused_does_not_keep_back_the_others(datasets: Steno, detection: Detection, folder: Path) -> None:
    detection.add_model(JOB_ID, ["click"])
    order = "01890000-0000-7000-8000-000000000000"
    detection.refuse["POST", f"/inference-jobs/{order}/files/upload-url"] = error(402, "NO_CREDITS", "The credit is spent.")
    outcome = datasets("detect", JOB_ID, folder / "a.wav", folder / "b.mp3", "--json")
    assert (outcome.status, outcome.err.splitlines()[-1]) == (1, f"{folder / 'a.wav'}: The credit is spent. (NO_CREDITS)")
    assert [row["original_filename"] for row in json.loads(outcome.out)["files"]] == ["b.mp3"]


def test_detections_become_label_files(datasets: Steno, detection: Detection, folder: Path, tmp_path: Path) -> None:
    detection.add_model(JOB_ID, ["click", "hum"])
    assert datasets("detect", JOB_ID, folder / "a.wav", folder / "b.mp3", "--audacity", tmp_path / "out").status == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.txt", "b.txt"]
    assert (tmp_path / "out" / "a.txt").read_text() == "1.250\t1.300\tclick\n4.000\t6.500\thum\n"
    assert len(FOUND) == 2


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (("{folder}/a.wav", "--json", "--audacity", "{folder}/out"), 2, "choose one"),
        (("{folder}/a.wav", "{folder}/deep/a.wav", "--audacity", "{folder}/out"), 2, "share their label file"),
        (("{folder}/notes.txt",), 1, "notes.txt is none of .aac"),
        (("{folder}/absent.wav",), 1, "cannot read"),
        (("{folder}/a.wav", "--threshold", "1.5"), 2, "--threshold"),
    ],
)
def test_hopeless_search_is_refused_before_anything_is_sent(
    datasets: Steno, detection: Detection, folder: Path, arguments: tuple[str, ...], status: int, sentence: str
) -> None:
    outcome = datasets("detect", JOB_ID, *(part.format(folder=folder) for part in arguments))
    assert outcome.status == status
    assert sentence in outcome.err
    assert not detection.bodies
