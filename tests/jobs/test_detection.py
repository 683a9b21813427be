"""The rules of trainings and inference orders, on plain values."""

import pytest

from services.jobs.detection import FileCounts, charged_ms, detector_name, order_state
from steno.jobs.v1.detection_job_pb2 import DetectionState


@pytest.mark.parametrize(
    ("duration_ms", "rate", "charged"),
    [
        (60_000, 25, 15_000),
        (60_001, 25, 15_001),
        (1, 25, 1),
        (0, 25, 1),
        (60_000, 0, 0),
        (0, 0, 0),
        (100, 1000, 1000),
        (10**12, 33, 33 * 10**10),
    ],
)
def test_share_of_a_file_is_rounded_up_and_nothing_only_when_free(duration_ms: int, rate: int, charged: int) -> None:
    assert charged_ms(duration_ms, rate) == charged


@pytest.mark.parametrize(
    ("counts", "state"),
    [
        (FileCounts(), "PENDING"),
        (FileCounts(announced=3), "PENDING"),
        (FileCounts(announced=1, failed=1), "RUNNING"),
        (FileCounts(announced=1, completed=1), "RUNNING"),
        (FileCounts(active=1), "RUNNING"),
        (FileCounts(active=1, completed=1, failed=1), "RUNNING"),
        (FileCounts(completed=1, failed=9), "COMPLETED"),
        (FileCounts(failed=2), "FAILED"),
    ],
)
def test_an_order_stands_where_its_files_do(counts: FileCounts, state: str) -> None:
    assert DetectionState.Name(order_state(counts, cancelled=False)) == f"DETECTION_STATE_{state}"
    assert DetectionState.Name(order_state(counts, cancelled=True)) == "DETECTION_STATE_CANCELLED"


def test_long_names_of_datasets_leave_room_for_the_version() -> None:
    assert detector_name("Yard", 12) == "Yard v12"
    assert detector_name("x" * 255, 12) == "x" * 251 + " v12"
