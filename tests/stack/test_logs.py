"""What people see of the children's logs."""

import asyncio
import json

from services.stack.echo import echo
from services.stack.last_words import last_words
from tests.stack.conftest import MakeChild, until


async def test_verbose_passes_on_whole_new_lines_only(make_child: MakeChild) -> None:
    log = make_child("").log_file
    log.write_text("old\n")
    shown: list[tuple[str, str]] = []
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(echo("jobs", log, lambda *line: shown.append(line), stopping), name="echo")
        await asyncio.sleep(0)
        with log.open("a") as file:
            file.write("first\nsec")
            file.flush()
            await until(lambda: shown == [("jobs", "first")])
            file.write("ond\nlast\n")
        stopping.set()
    assert shown == [("jobs", "first"), ("jobs", "second"), ("jobs", "last")]


async def test_verbose_follows_a_log_that_was_put_aside(make_child: MakeChild) -> None:
    log = make_child("").log_file
    log.write_text("a long line of before\n")
    shown: list[str] = []
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(echo("jobs", log, lambda _, line: shown.append(line), stopping), name="echo")
        await asyncio.sleep(0)
        log.write_text("new\n")
        await until(lambda: shown == ["new"])
        stopping.set()


def test_last_words_show_the_trace_in_a_json_line(make_child: MakeChild) -> None:
    child = make_child("", "storage")
    trace = "Traceback (most recent call last):\n  File somewhere\nValueError: a key has 32 bytes"
    lines = ["plain text", json.dumps({"event": "service failed", "level": "error", "exception": trace, "port": 1})]
    child.log_file.write_text("\n".join(lines))
    words = last_words(child).splitlines()
    assert words[0].startswith("storage did not become ready")
    assert words[1:3] == ["  plain text", '  service failed {"port": 1}']
    assert words[-1] == "  ValueError: a key has 32 bytes"
