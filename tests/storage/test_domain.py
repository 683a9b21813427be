"""The rules on plain values."""

import pytest

from services.mesh.errors import InvalidField
from services.storage.data_plane.ranges import RangeNotSatisfiable, Span, asked_span
from services.storage.domain import attachment, check_media_type, clean_filename, duration_limit, size_limit


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("talk.mp3", "talk.mp3"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\talk.mp3", "talk.mp3"),
        ("a\x00b\r\n\x1b[31mc", "ab[31mc"),
        ("\u202etalk\u2066.exe\u200f.mp3", "talk.exe.mp3"),
        ("e\u0301.mp3", "é.mp3"),
        ("", "upload"),
        (" \u200b ", "upload"),
        ("..", "upload"),
        ("dir/", "upload"),
        ("x" * 300, "x" * 255),
        ("\ud800.mp3", ".mp3"),
        ("会議 1.wav", "会議 1.wav"),
    ],
)
def test_filename_is_cleaned_for_display(sent: str, kept: str) -> None:
    assert clean_filename(sent) == kept


def test_limits_never_exceed_the_services_own() -> None:
    assert (size_limit(0, 10), size_limit(5, 10), size_limit(50, 10)) == (10, 5, 10)
    assert (duration_limit(0, 10), duration_limit(5, 10), duration_limit(50, 10)) == (10, 5, 10)
    for limit in (size_limit, duration_limit):
        with pytest.raises(InvalidField):
            limit(-1, 10)


@pytest.mark.parametrize("media_type", ["", "audio", "audio/", "/mp3", "a/b\r\nx: y", "a/é", "a/" + "b" * 127])
def test_media_type_unfit_for_a_header_is_refused(media_type: str) -> None:
    with pytest.raises(InvalidField):
        check_media_type(media_type)


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-", Span(0, 100)),
        ("bytes=10-19", Span(10, 20)),
        ("bytes=90-1000", Span(90, 100)),
        ("bytes=-1", Span(99, 100)),
        ("bytes=-1000", Span(0, 100)),
        ("bytes=0-0,2-3", None),
        ("bytes=9-3", None),
        ("bytes=--1", None),
        ("", None),
    ],
)
def test_range_is_one_span_or_all(header: str, span: Span | None) -> None:
    assert asked_span(header, 100) == span


@pytest.mark.parametrize(("header", "size_bytes"), [("bytes=100-", 100), ("bytes=-0", 100), ("bytes=0-", 0), ("bytes=-5", 0)])
def test_range_outside_of_the_bytes_is_not_satisfiable(header: str, size_bytes: int) -> None:
    with pytest.raises(RangeNotSatisfiable):
        asked_span(header, size_bytes)


def test_disposition_never_breaks_out_of_its_header() -> None:
    header = attachment('a"\\;\r\n%41é.mp3')
    assert header == "attachment; filename=\"a__;___41_.mp3\"; filename*=UTF-8''a%22%5C%3B%0D%0A%2541%C3%A9.mp3"
