"""One at a time, by name."""

import asyncio
import gc
from weakref import ref

from services.mesh.turns import Turns


async def test_one_name_is_entered_once_at_a_time_and_names_do_not_wait_for_each_other() -> None:
    turns, inside, most = Turns(), {"a": 0, "b": 0}, {"a": 0, "b": 0}
    both = asyncio.Event()

    async def enter(name: str) -> None:
        async with turns.of(name):
            gc.collect()
            inside[name] += 1
            most[name] = max(most[name], inside[name])
            if all(inside.values()):
                both.set()
            await asyncio.wait_for(both.wait(), 5)
            inside[name] -= 1

    await asyncio.gather(*(enter(name) for name in "ab" * 5))
    assert most == {"a": 1, "b": 1}


async def test_nothing_is_kept_of_a_name_that_nobody_asks_for() -> None:
    turns = Turns()
    lock = ref(turns.of("a"))
    gc.collect()
    assert lock() is None


async def test_patience_ends_before_the_turn_does() -> None:
    turns, order, over = Turns(), list[str](), asyncio.Event()

    async def enter(name: str, seconds: float) -> None:
        async with turns.patiently("a", seconds):
            order.append(name)
            await over.wait()

    async with asyncio.TaskGroup() as tasks, asyncio.timeout(10):
        tasks.create_task(enter("first", 5))
        patient = tasks.create_task(enter("patient", 5))
        impatient = tasks.create_task(enter("impatient", 0.01))
        while len(order) < 2:
            await asyncio.sleep(0)
        assert order == ["first", "impatient"]
        over.set()
        await asyncio.gather(patient, impatient)
    assert order == ["first", "impatient", "patient"]
    assert not turns.of("a").locked()
