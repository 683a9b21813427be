"""Every vector of the corpus gets the answer that it has to get, and costs no memory and no process."""

from collections import Counter
from pathlib import Path

import pytest

from faults.campaign import Options
from faults.campaigns import http
from faults.corpora.http.corpus import corpus
from faults.corpora.http.exchange import problems
from faults.corpora.http.vector import Target, once


@pytest.mark.timeout(400)
def test_hostile_http_is_answered_as_expected(tmp_path: Path) -> None:
    missed = [figure for figure in http.run(Options(tmp_path)) if not figure.holds]
    assert missed == []


REFUSAL = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nx-request-id: a\r\ncontent-length: %d\r\n\r\n%s"
BODY = b'{"error": "e", "code": "BAD_REQUEST", "detail": "e"}'
GOOD = REFUSAL % (len(BODY), BODY)
WRONG = {
    "no_answer": (b"", "0 answers"),
    "not_http": (b"oops", "not an answer"),
    "two_answers": (GOOD * 2, "2 answers"),
    "other_status": (GOOD.replace(b"400", b"500"), "status 500"),
    "other_code": (GOOD.replace(b"BAD_REQUEST", b"BAD_RESPECT"), "code BAD_RESPECT"),
    "cut_off": (GOOD[:-1], "breaks off"),
    "no_dialect": (GOOD.replace(b'"code"', b'"kode"'), "no refusal of a dialect"),
    "no_request_id": (GOOD.replace(b"x-request-id: a\r\n", b""), "no request id"),
    "other_type": (GOOD.replace(b"application/json", b"text/plain"), "no JSON"),
    "trace": (GOOD.replace(b'"detail": "e"', b'"detail": "a.py"').replace(b": 52", b": 55"), "tells of the inside"),
}


@pytest.mark.parametrize(("raw", "problem"), WRONG.values(), ids=WRONG.keys())
def test_wrong_answer_is_noticed(raw: bytes, problem: str) -> None:
    assert any(problem in found for found in problems(once("a", b"GET / HTTP/1.1\r\n\r\n", 400, "BAD_REQUEST"), raw))


def test_right_answer_is_not_complained_of() -> None:
    assert list(problems(once("a", b"GET / HTTP/1.1\r\n\r\n", 400, "BAD_REQUEST"), GOOD)) == []


def test_no_two_vectors_of_a_door_have_one_name() -> None:
    target = Target("k", "r", "x", "w", "d", "/p?a=b", "/u?a=b", "/media/a?expires=1&signature=Ab", "/media/b?c=d", b"audio", 1)
    names = Counter((vector.door, vector.name) for vector in corpus(target))
    assert [name for name, count in names.items() if count > 1] == []
