"""Labels in every form that people have them in."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.datasets_cli.audacity import read_audacity, write_audacity
from services.datasets_cli.jams import read_jams
from services.datasets_cli.labels import Label
from services.datasets_cli.tables import read_table

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=100)
MOMENTS = st.integers(0, 36_000_000)
LABELS = st.lists(
    st.builds(lambda name, start, length: Label(name, start, start + length), NAMES, MOMENTS, st.integers(1, 60_000)), max_size=20
)


def jams(data: Any, namespace: str = "segment_open") -> str:
    """A JAMS file with one annotation."""
    return json.dumps({"file_metadata": {}, "annotations": [{"namespace": namespace, "data": data}], "sandbox": {}})


@given(LABELS)
def test_written_audacity_labels_are_read_as_they_were(labels: list[Label]) -> None:
    reading = read_audacity(write_audacity(labels), "a.txt")
    assert (reading.found, reading.problems) == (labels, [])


def test_audacity_frequencies_and_blank_lines_are_passed_over() -> None:
    text = "1.250000\t1.300000\tclick\r\n\\\t100.0\t2000.0\r\n\r\n2\t3.5\tlong pause\r\n"
    assert read_audacity(text, "a.txt").found == [Label("click", 1250, 1300), Label("long pause", 2000, 3500)]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("1.0\t2.0", "with tabs between"),
        ("1.0 2.0 click", "with tabs between"),
        ("one\t2.0\tclick", "'one' is not a number of seconds"),
        ("nan\t2.0\tclick", "'nan' is not a number of seconds"),
        ("1.0\t1e400\tclick", "'1e400' is not a number of seconds"),
        ("-0.5\t2.0\tclick", "starts before its recording"),
        ("2.0\t1.0\tclick", "ends before it starts"),
        ("1.0\t1.0\tclick", "a point, not a stretch"),
        ("1.0\t2.0\t", "the label is empty"),
        ("1.0\t2.0\t" + "x" * 101, "has 101 characters"),
    ],
)
def test_bad_audacity_line_is_named_and_the_others_are_read(line: str, why: str) -> None:
    reading = read_audacity(f"0\t1\tgood\n{line}\n3\t4\tgood\n", "a.txt")
    (problem,) = reading.problems
    assert problem.startswith("a.txt line 2: ")
    assert why in problem
    assert [(label.start_ms, label.place) for label in reading.found] == [(0, "a.txt line 1"), (3000, "a.txt line 3")]


def test_label_shorter_than_a_millisecond_has_one() -> None:
    assert read_audacity("1.0001\t1.0002\tclick\n", "a.txt").found == [Label("click", 1000, 1001)]


@pytest.mark.parametrize(
    "table",
    [
        "file,start,end,label\na.wav,1.25,1.3,click\n",
        "FILE , Label,start,end\na.wav,click,1.250,1.300\n",
        "file,start_ms,end_ms,label\na.wav,1250,1300,click\n",
        "file;start;end_ms;label\r\na.wav;1.25;1300;click\r\n\r\n",
        'file\tstart\tend\tlabel\tnote\n"a.wav"\t1.25\t1.3\t"click"\tloud\n',
    ],
)
def test_table_is_read_whatever_its_separators_and_units(table: str) -> None:
    reading = read_table(table, "labels.csv")
    assert (reading.found, reading.problems) == ([("a.wav", Label("click", 1250, 1300))], [])


def test_table_may_tell_how_sure_somebody_was() -> None:
    (first, second) = read_table("file,start,end,label,confidence\na.wav,0,1,x,0.25\na.wav,1,2,x,\n", "labels.csv").found
    assert (first[1].confidence, second[1].confidence) == (0.25, 1.0)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("", "labels.csv: the first line names no column file"),
        ("a.wav,1,2,click\n", "labels.csv: the first line names no column file"),
        ("file,start,label\na.wav,1,x\n", "labels.csv: the first line names no column end or end_ms"),
        ("file,start,end,label\n,1,2,click\n", "labels.csv line 2: no file is named"),
        ("file,start,end,label\na.wav,1\n", "labels.csv line 2: '' is not a number of seconds"),
        ("file,start,end,label,confidence\na.wav,1,2,x,7\n", "labels.csv line 2: a confidence of 7 is not between 0 and 1"),
        ('file,start,end,label\n"a.wav,1,2,x\n', "labels.csv line 2: unexpected end of data"),
    ],
)
def test_bad_table_is_refused_with_its_line(table: str, problem: str) -> None:
    assert read_table(table, "labels.csv").problems == [problem]


@pytest.mark.parametrize("namespace", ["segment_open", "tag_open", "sound_event"])
def test_jams_observations_are_read_in_both_layouts(namespace: str) -> None:
    rows = [
        {"time": 1.25, "duration": 0.05, "value": "click", "confidence": None},
        {"time": 2, "duration": 1, "value": "hum", "confidence": 0.5},
    ]
    columns = {name: [row[name] for row in rows] for name in ("time", "duration", "value", "confidence")}
    wanted = [Label("click", 1250, 1300), Label("hum", 2000, 3000, 0.5)]
    assert read_jams(jams(rows, namespace), "a.jams").found == wanted
    assert read_jams(jams(columns, namespace), "a.jams").found == wanted


def test_jams_events_of_scaper_have_their_label_inside() -> None:
    rows = [{"time": 0.1, "duration": 0.2, "value": {"label": "click", "snr": 3}, "confidence": 1}]
    assert read_jams(jams(rows, "scaper"), "a.jams").found == [Label("click", 100, 300)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "a.jams: Expecting property name"),
        ("[" * 100_000, "a.jams: "),
        ("[]", "a.jams: this is not the form of a JAMS file"),
        ('{"annotations": [{"namespace": "segment_open", "data": {"time": [1]}}]}', "a.jams: this is not the form of a JAMS file"),
        (jams([], "chord"), "a.jams: no annotation is of a namespace that is read (scaper, segment_open, sound_event, tag_open)"),
        (jams([{"time": True, "duration": 1, "value": "x"}]), "a.jams segment_open 1: its time is no number"),
        (jams([{"time": 1, "duration": float("inf"), "value": "x"}]), "a.jams segment_open 1: its duration is no number"),
        (jams([{"time": 1, "duration": 0, "value": "x"}]), "a.jams segment_open 1: the label marks a point, not a stretch"),
        (jams([{"time": 1, "duration": 1, "value": 3}]), "a.jams segment_open 1: its value is no text"),
        (jams(["x"]), "a.jams segment_open 1: an observation has time, duration, value and confidence"),
    ],
)
def test_bad_jams_is_refused_with_its_place(text: str, problem: str) -> None:
    (found,) = read_jams(text, "a.jams").problems
    assert found.startswith(problem)


@given(st.decimals(0, 36_000, places=3), st.decimals(Decimal("0.001"), 60, places=3))
def test_the_same_label_is_the_same_in_every_form(start: Decimal, length: Decimal) -> None:
    end = start + length
    audacity = read_audacity(f"{start}\t{end}\thum\n", "a.txt").found
    ((_, table),) = read_table(f"file,start,end,label\na.wav,{start},{end},hum\n", "labels.csv").found
    observation = f'{{"time": {start}, "duration": {length}, "value": "hum"}}'
    document = f'{{"annotations": [{{"namespace": "tag_open", "data": [{observation}]}}]}}'
    assert audacity == [table] == read_jams(document, "a.jams").found


@given(st.text())
def test_no_text_is_more_than_a_problem(text: str) -> None:
    for read in (read_audacity, read_table, read_jams):
        reading = read(text, "x")
        assert all(problem.startswith("x") for problem in reading.problems)
