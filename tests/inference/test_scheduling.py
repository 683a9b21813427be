"""Turns: never more than there are, in order within a job, by weight between workspaces, and soon for who has just come."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from services.inference.scheduling import Party, Priority, WindowScheduler, priority_after

TEN_HOURS = 1_200


@dataclass
class Desk:
    """One who asks for turns, and what came of it: `given` has the labels in the order of their turns."""

    scheduler: WindowScheduler
    given: list[str] = field(default_factory=list)
    most_at_once: int = 0
    tasks: "list[asyncio.Task[None]]" = field(default_factory=list)
    ends: "dict[str, asyncio.Event]" = field(default_factory=dict)

    def ask(self, label: str, workspace: str, job: str, priority: Priority = Priority.SOON) -> "asyncio.Task[None]":
        """A window that wants a turn, and has it until `end`."""
        self.ends[label] = asyncio.Event()
        task = asyncio.create_task(self._window(label, Party(workspace, job), priority), name=label)
        self.tasks.append(task)
        return task

    async def _window(self, label: str, party: Party, priority: Priority) -> None:
        async with self.scheduler.turn(party, priority):
            self.given.append(label)
            self.most_at_once = max(self.most_at_once, self.scheduler.taken)
            await self.ends[label].wait()

    async def end(self, label: str) -> None:
        """Give the turn back, and let what follows from that happen."""
        self.ends[label].set()
        await settle()

    async def work_off(self) -> None:
        """End the turns in the order in which they were given until nobody waits."""
        ended = 0
        while ended < len(self.given):
            await self.end(self.given[ended])
            ended += 1


async def settle() -> None:
    """Let every task that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def desk(turns: Callable[[], int] = lambda: 1, weights: dict[str, float] | None = None) -> AsyncIterator[Desk]:
    opened = Desk(WindowScheduler(turns, weights or {}))
    try:
        yield opened
    finally:
        for task in opened.tasks:
            task.cancel()
        await asyncio.gather(*opened.tasks, return_exceptions=True)
        assert opened.scheduler.taken == 0


async def test_windows_of_a_job_come_in_order() -> None:
    async with desk() as asked:
        for number in range(20):
            asked.ask(str(number), "w", "job")
        await settle()
        await asked.work_off()
        assert asked.given == [str(number) for number in range(20)]


async def test_never_more_turns_than_there_are_and_no_fewer() -> None:
    async with desk(lambda: 3) as asked:
        for number in range(10):
            asked.ask(str(number), f"w{number % 2}", f"job{number}")
        await settle()
        assert asked.scheduler.taken == 3
        await asked.work_off()
        assert asked.most_at_once == 3
        assert len(asked.given) == 10


async def test_ten_hours_of_one_do_not_hold_up_a_minute_of_another() -> None:
    async with desk(lambda: 2) as asked:
        for number in range(TEN_HOURS):
            asked.ask(f"long {number}", "long", "long", priority_after(number * 30_000))
        await settle()
        for number in range(2):
            asked.ask(f"short {number}", "short", "short")
        await settle()
        for ended in range(4):
            await asked.end(asked.given[ended])
        assert {"short 0", "short 1"} <= set(asked.given[2:6])


async def test_ten_hours_do_not_hold_up_a_minute_of_the_same_workspace() -> None:
    async with desk() as asked:
        for number in range(TEN_HOURS):
            asked.ask(f"long {number}", "w", "long", priority_after(number * 30_000))
        await settle()
        for ended in range(100):
            await asked.end(asked.given[ended])
        before = len(asked.given)
        asked.ask("short", "w", "short", priority_after(0))
        await settle()
        for ended in range(before - 1, before + 2):
            await asked.end(asked.given[ended])
        assert "short" in asked.given[before : before + 2]


async def test_short_jobs_without_end_do_not_starve_a_long_one() -> None:
    async with desk() as asked:
        asked.ask("long", "w", "long", Priority.LATE)
        asked.ask("first", "w", "first")
        await settle()
        for ended in range(40):
            for another in range(3):
                asked.ask(f"short {ended} {another}", "w", f"short {ended} {another}")
            await settle()
            await asked.end(asked.given[ended])
        assert "long" in asked.given


async def test_new_workspaces_without_end_do_not_starve_one_that_waits() -> None:
    async with desk() as asked:
        for number in range(10):
            asked.ask(f"old {number}", "old", "job", Priority.LATE)
        await settle()
        for ended in range(12):
            asked.ask(f"new {ended}", f"new {ended}", "job")
            await settle()
            await asked.end(asked.given[ended])
        assert sum(label.startswith("old") for label in asked.given) >= 4


async def test_weights_share_the_turns_while_all_wait() -> None:
    async with desk(weights={"gold": 3.0}) as asked:
        for number in range(40):
            for workspace in ("gold", "silver"):
                asked.ask(f"{workspace} {number}", workspace, "job")
        await settle()
        for ended in range(39):
            await asked.end(asked.given[ended])
        assert Counter(label.split()[0] for label in asked.given)["gold"] in (29, 30, 31)


async def test_priorities_share_the_turns_of_their_workspace_only() -> None:
    async with desk() as asked:
        for number in range(60):
            asked.ask(f"late {number}", "busy", "late", Priority.LATE)
            asked.ask(f"soon {number}", "busy", f"soon {number}", Priority.SOON)
            asked.ask(f"other {number}", "quiet", "job", Priority.LATE)
        await settle()
        for ended in range(55):
            await asked.end(asked.given[ended])
        counts = Counter(label.split()[0] for label in asked.given)
        assert abs(counts["other"] - 28) <= 1
        assert counts["soon"] >= 4 * counts["late"] > 0


async def test_cancelled_window_leaves_its_place_to_the_next() -> None:
    async with desk() as asked:
        tasks = [asked.ask(label, "w", "job") for label in ("held", "gone", "next")]
        await settle()
        tasks[1].cancel()
        await asked.end("held")
        assert asked.given == ["held", "next"]


async def test_window_that_is_cancelled_as_its_turn_comes_gives_it_on() -> None:
    async with desk() as asked:
        tasks = [asked.ask(label, "w", "job") for label in ("held", "gone", "next")]
        await settle()
        # The turn is given in the same moment, before the task that waits can go on.
        asked.ends["held"].set()
        tasks[0].add_done_callback(lambda done: tasks[1].cancel())
        await settle()
        assert asked.given in (["held", "next"], ["held", "gone", "next"])
        assert asked.scheduler.taken == 1


async def test_turns_that_are_added_are_given_at_once() -> None:
    turns = [1]
    async with desk(lambda: turns[0]) as asked:
        for number in range(4):
            asked.ask(str(number), "w", "job")
        await settle()
        assert asked.given == ["0"]
        turns[0] = 3
        asked.scheduler.refresh()
        await settle()
        assert asked.given == ["0", "1", "2"]


async def test_turns_that_are_taken_away_are_not_given_again() -> None:
    turns = [3]
    async with desk(lambda: turns[0]) as asked:
        for number in range(6):
            asked.ask(str(number), "w", "job")
        await settle()
        turns[0] = 0
        await asked.end("0")
        await asked.end("1")
        assert asked.given == ["0", "1", "2"]
        await asked.end("2")
        assert asked.given == ["0", "1", "2", "3"]


async def test_what_has_ended_is_forgotten() -> None:
    scheduler = WindowScheduler(lambda: 2)
    for number in range(50):
        async with scheduler.turn(Party(f"w{number}", f"job{number}")):
            pass
    assert not scheduler._waiting
    assert scheduler.taken == 0


@pytest.mark.parametrize(("speech_ms", "priority"), [(0, Priority.SOON), (60_000, Priority.NORMAL), (3_600_000, Priority.LATE)])
def test_first_minute_of_a_job_is_soon_and_past_ten_late(speech_ms: int, priority: Priority) -> None:
    assert priority_after(speech_ms) is priority


WINDOWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from(Priority), st.integers(0, 9)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(windows=WINDOWS, turns=st.integers(1, 4), weight=st.sampled_from([0.5, 1.0, 4.0]))
async def test_every_window_that_is_not_cancelled_has_its_turn_once_and_in_order(
    windows: list[tuple[int, int, Priority, int]], turns: int, weight: float
) -> None:
    async with desk(lambda: turns, {"w0": weight}) as asked:
        tasks = {}
        for number, (workspace, job, priority, _) in enumerate(windows):
            tasks[str(number)] = asked.ask(str(number), f"w{workspace}", f"w{workspace} job{job}", priority)
        await settle()
        held = set(asked.given)
        gone = {label for label, (_, _, _, dice) in zip(tasks, windows, strict=True) if dice == 0 and label not in held}
        for label in gone:
            tasks[label].cancel()
        await asked.work_off()
        assert sorted(asked.given) == sorted(set(tasks) - gone)
        assert asked.most_at_once <= turns
        for line in {(workspace, job, priority) for workspace, job, priority, _ in windows}:
            numbers = [int(label) for label in asked.given if windows[int(label)][:3] == line]
            assert numbers == sorted(numbers)


def told(name: str, **labels: str) -> float:
    """The series' value, 0 before it exists."""
    return REGISTRY.get_sample_value(f"steno_window{name}", labels) or 0.0


async def test_windows_in_flight_and_waiting_are_told() -> None:
    scheduler = WindowScheduler(lambda: 1)
    async with scheduler.turn(Party("w", "a")):
        assert told("s_in_flight") == 1
        waiting = asyncio.create_task(scheduler.turn(Party("w", "b"), Priority.LATE).__aenter__())
        await settle()
        assert told("s_waiting", priority="late") == 1
    await waiting
    assert told("s_waiting", priority="late") == 0
    assert told("s_in_flight") == 1


async def test_only_the_time_with_windows_is_busy_and_two_at_once_count_once() -> None:
    moments = iter([100.0, 101.0, 103.0, 104.0, 200.0, 201.0])
    scheduler = WindowScheduler(lambda: 2, clock=lambda: next(moments))
    before = told("_busy_seconds_total")
    async with scheduler.turn(Party("w", "a")), scheduler.turn(Party("w", "b")):
        pass
    async with scheduler.turn(Party("w", "a")):
        pass
    assert told("_busy_seconds_total") - before == pytest.approx(4 + 1)
