"""A clock beside the machine's."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from services.mesh.steady_clock import SteadyClock


def test_it_says_what_the_machine_says() -> None:
    assert abs(SteadyClock().now() - datetime.now(UTC)) < timedelta(seconds=5)


def test_a_step_of_the_machines_clock_does_not_move_it(monkeypatch: pytest.MonkeyPatch) -> None:
    right = datetime.now(UTC)
    clock = SteadyClock()
    tomorrow = time.time() + 86_400
    monkeypatch.setattr(time, "time", lambda: tomorrow)
    assert abs(clock.now() - right) < timedelta(seconds=60)
    assert SteadyClock().now() - right > timedelta(hours=23)
