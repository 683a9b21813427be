"""Ids."""

import threading
import time
import uuid

import pytest

from services.mesh.ids import is_id, new_id


def test_ids_are_unique_and_grow() -> None:
    ids = [new_id() for _ in range(100_000)]
    assert len(set(ids)) == len(ids)
    assert ids == sorted(ids)


def test_ids_of_threads_are_unique() -> None:
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.extend([new_id() for _ in range(5_000)])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(set(made)) == 20_000


def test_an_id_tells_when_it_was_made() -> None:
    before = time.time_ns() // 1_000_000
    milliseconds = uuid.UUID(new_id()).int >> 80
    assert before <= milliseconds <= time.time_ns() // 1_000_000 + 100


def test_an_id_is_an_id() -> None:
    assert is_id(new_id())


@pytest.mark.parametrize(
    "text", ["", "x", str(uuid.UUID(int=0)), "F" * 36, "{018f0000-0000-7000-8000-000000000000}", "018F0000-0000-7000-8000-00000000000A"]
)
def test_other_text_is_no_id(text: str) -> None:
    assert not is_id(text)
