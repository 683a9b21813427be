"""The bound on calls under way falls when the queue is full, rises while they are answered, and loses no place."""

import asyncio

from services.inference.engines.triton.limit import CallLimit


async def hold(limit: CallLimit, count: int, until: asyncio.Event, group: asyncio.TaskGroup, priority: int = 1) -> list[asyncio.Task[None]]:
    async def one() -> None:
        async with limit.slot(priority):
            await until.wait()

    tasks = [group.create_task(one()) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_no_more_calls_are_under_way_than_the_bound() -> None:
    limit, done = CallLimit(2), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        await hold(limit, 9, done, group)
        assert limit.held == limit.bound == 4
        done.set()
    assert limit.held == 0


async def test_full_queue_halves_the_bound_once_a_moment_and_never_below_one() -> None:
    limit, told = CallLimit(8), []
    limit.on_change(lambda: told.append(limit.bound))
    for _ in range(3):
        limit.shrink()
    assert told == [8]
    small = CallLimit(1)
    small._bound = 1.0
    small.shrink()
    assert small.bound == 1


async def test_bound_rises_to_four_batches_while_calls_are_held_back() -> None:
    limit, done = CallLimit(2), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        await hold(limit, 20, done, group)
        for _ in range(200):
            limit.grow()
        await asyncio.sleep(0)
        assert limit.held == limit.bound == 8
        done.set()
    limit.grow()
    assert limit.bound == 8, "answers do not raise a bound that holds nothing back"


async def test_urgent_calls_go_first_and_cancelled_ones_leave_no_hole() -> None:
    limit, first, order = CallLimit(1), asyncio.Event(), []
    limit._bound = 1.0

    async def one(name: str, priority: int) -> None:
        async with limit.slot(priority):
            order.append(name)

    async with asyncio.TaskGroup() as group:
        await hold(limit, 1, first, group)
        late = group.create_task(one("late", 2))
        gone = group.create_task(one("gone", 0))
        soon = group.create_task(one("soon", 1))
        await asyncio.sleep(0)
        gone.cancel()
        first.set()
    assert order == ["soon", "late"]
    assert late.done()
    assert soon.done()
    assert limit.held == 0


async def test_call_cancelled_in_the_moment_of_its_admission_gives_its_place_back() -> None:
    limit, first = CallLimit(1), asyncio.Event()
    limit._bound = 1.0
    async with asyncio.TaskGroup() as group:
        holders = await hold(limit, 1, first, group)
        waiting = await hold(limit, 1, asyncio.Event(), group)
        holders[0].add_done_callback(lambda _: waiting[0].cancel())
        first.set()
    assert limit.held == 0
