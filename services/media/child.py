"""One run inside the child: take the descriptors, confine, call the function, answer."""

import fcntl
import importlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from services.media import wire
from services.media.confinement import confine
from services.media.descriptor import DescriptorReader
from services.media.errors import MediaError, SandboxUnavailable

CHANNEL = 3
HIGH_DESCRIPTOR = 64
REASON_CHARACTERS = 500

Report = Callable[[int], None]
Function = Callable[..., Mapping[str, wire.Json]]


def run(request: wire.Request, descriptors: Sequence[int], network_left: bool, server_pid: int) -> None:
    """Answer on the channel with a result, a verdict on the media, or a fault."""
    take(descriptors)
    reset_signals()
    answer(partial(work, request, network_left, server_pid))


def work(request: wire.Request, network_left: bool, server_pid: int) -> Mapping[str, wire.Json]:
    """Confine this process, then call the function on the media."""
    function = resolve(request.function)
    outputs_start = CHANNEL + 1 + request.inputs
    inputs = [DescriptorReader(descriptor) for descriptor in range(CHANNEL + 1, outputs_start)]
    outputs = range(outputs_start, outputs_start + request.outputs)
    confine(request.limits, (CHANNEL, *outputs), network_left, server_pid)
    return function(report_progress, *inputs, *outputs, **request.arguments)


def take(descriptors: Sequence[int]) -> None:
    """Close all but the given descriptors, which become 3, 4, ...; 0, 1 and 2 become the null device."""
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, HIGH_DESCRIPTOR) for descriptor in descriptors]
    null = fcntl.fcntl(os.open(os.devnull, os.O_RDWR), fcntl.F_DUPFD, HIGH_DESCRIPTOR)
    for target, source in enumerate([null, null, null, *high]):
        os.dup2(source, target)
    os.closerange(CHANNEL + len(high), os.sysconf("SC_OPEN_MAX"))


def reset_signals() -> None:
    """Undo what the fork server set."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def resolve(name: str) -> Function:
    """The function called `package.module:function`."""
    module, _, attribute = name.partition(":")
    function: Function = getattr(importlib.import_module(module), attribute)
    return function


def answer(call: Callable[[], Mapping[str, wire.Json]]) -> None:
    """Send what the call returns or raises."""
    try:
        message: Mapping[str, wire.Json] = {"result": call()}
    except MediaError as verdict:
        message = {"error": [verdict.code, shorten(verdict.reason)]}
    except MemoryError:
        message = {"killed": "memory"}
    except SandboxUnavailable as error:
        message = {"unavailable": str(error)}
    # The boundary of the sandbox: hostile media makes libav raise almost anything.
    except Exception as error:
        message = {"error": ["TASK_FAILED", shorten(f"{type(error).__name__}: {error}")]}
    send(message)


def shorten(reason: str) -> str:
    """A reason that fits a line, without the bytes that no JSON reader likes."""
    return reason.encode("ascii", "replace").decode()[:REASON_CHARACTERS]


def report_progress(done_ms: int) -> None:
    """Tell the service how far the function has come."""
    send({"progress": done_ms})


def send(message: Mapping[str, wire.Json]) -> None:
    """Write the whole line to the channel."""
    line = memoryview(wire.encode(message))
    while line:
        line = line[os.write(CHANNEL, line) :]


def stand_by(report: Report) -> Mapping[str, wire.Json]:
    """Do nothing: shows that a child can be confined here."""
    return {}
