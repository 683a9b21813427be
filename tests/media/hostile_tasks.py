"""What a decoder that has been taken over would try. Each function runs inside a sandboxed child."""

import ctypes
import mmap
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from services.media.child import CHANNEL, Report
from services.media.descriptor import DescriptorReader


def outcome(attempt: Callable[[], object]) -> str:
    """`done`, or the name of the error."""
    try:
        attempt()
    except (OSError, ValueError) as error:
        return type(error).__name__
    return "done"


def libc_call(name: str, *arguments: int) -> Callable[[], None]:
    """A call that raises the OSError of its errno."""

    def attempt() -> None:
        if getattr(libc, name)(*arguments) == -1:
            raise OSError(ctypes.get_errno(), name)

    libc = ctypes.CDLL(None, use_errno=True)
    return attempt


def try_network(report: Report, port: int) -> Mapping[str, str]:
    return {
        "tcp": outcome(lambda: socket.socket().connect(("127.0.0.1", port))),
        "udp": outcome(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)),
        "unix": outcome(lambda: socket.socket(socket.AF_UNIX)),
    }


def try_processes(report: Report) -> Mapping[str, str]:
    return {
        "execve": outcome(libc_call("execve", 0, 0, 0)),
        "fork": outcome(os.fork),
        "kill": outcome(lambda: os.kill(os.getpid(), 0)),
        "ptrace": outcome(libc_call("ptrace", 16, 1, 0, 0)),
        "unshare": outcome(libc_call("unshare", 0x10000000)),
    }


def try_files(report: Report, source: DescriptorReader, path: str) -> Mapping[str, str]:
    return {
        "read": outcome(lambda: os.open(path, os.O_RDONLY)),
        "write": outcome(lambda: os.open(path, os.O_WRONLY)),
        "create": outcome(lambda: os.open("new", os.O_WRONLY | os.O_CREAT)),
        "stat": outcome(lambda: Path(path).stat()),
        "list": outcome(lambda: list(Path().iterdir())),
        "unlink": outcome(lambda: Path(path).unlink()),
        "input": outcome(lambda: os.write(source.descriptor, b"changed")),
        "pwrite": outcome(lambda: os.pwrite(source.descriptor, b"changed", 0)),
        "map": outcome(lambda: mmap.mmap(source.descriptor, 4096)),
        "truncate": outcome(lambda: os.ftruncate(source.descriptor, 0)),
    }


def try_executable_memory(report: Report) -> Mapping[str, str]:
    return {"mmap": outcome(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC))}


def describe_self(report: Report) -> Mapping[str, object]:
    return {"environment": len(os.environ), "modules": sorted(sys.modules), "pid": os.getpid()}


def read_input(report: Report, source: DescriptorReader) -> Mapping[str, int]:
    return {"size": len(source.read(1 << 20))}


def spin(report: Report) -> None:
    while True:
        pass


def hang(report: Report) -> None:
    report(os.getpid())
    time.sleep(600)


def eat_memory(report: Report) -> Mapping[str, int]:
    return {"size": len(bytearray(4 << 30))}


def eat_memory_by_the_page(report: Report) -> Mapping[str, int]:
    pieces = []
    while True:
        pieces.append(b"x" * 100_000)


def crash(report: Report) -> None:
    ctypes.string_at(0)


def leave(report: Report) -> None:
    os._exit(7)


def fill_output(report: Report, output: int) -> Mapping[str, int]:
    block = bytes(1 << 20)
    return {"written": sum(os.write(output, block) for _ in range(64))}


def write_raw(report: Report, text: str, times: int) -> None:
    for _ in range(times):
        os.write(CHANNEL, text.encode())
