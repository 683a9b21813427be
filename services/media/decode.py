"""Any audio or video to 16 kHz mono PCM, by a sandboxed child."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.media.errors import SandboxKilled
from services.media.limits import decode_cpu_seconds
from services.media.sandbox import OnProgress, Sandbox
from services.media.wire import Json

WALL_PER_CPU = 3
BYTES_PER_MS = 32
SLACK_MS = 2_000


@dataclass(frozen=True, slots=True)
class Decoded:
    """What was written: `samples` at 16 kHz, their length rounded up, and whether the audio broke off early."""

    samples: int
    duration_ms: int
    truncated: bool


async def decode(sandbox: Sandbox, source_fd: int, pcm_fd: int, max_duration_ms: int, on_progress: OnProgress | None = None) -> Decoded:
    """Write the audio as 16 kHz mono int16 little-endian at the offset of `pcm_fd`.

    on_progress: called on the event loop with the milliseconds decoded so far. Raises MediaError, and then what
    `pcm_fd` holds is of no use; MediaTooLong when more than a second decodes past `max_duration_ms`.
    """
    cpu_seconds = decode_cpu_seconds(max_duration_ms)
    completed = await sandbox.run(
        "services.media.transcode:transcode",
        inputs=[source_fd],
        outputs=[pcm_fd],
        arguments={"max_duration_ms": max_duration_ms},
        limits=sandbox.limits_with(cpu_seconds=cpu_seconds, file_size_bytes=(max_duration_ms + SLACK_MS) * BYTES_PER_MS),
        timeout_seconds=cpu_seconds * WALL_PER_CPU,
        on_progress=on_progress,
    )
    return parse_decoded(completed.result)


def parse_decoded(facts: Mapping[str, Json]) -> Decoded:
    """The counts, believed only if they have the form of counts. Raises SandboxKilled("protocol")."""
    match facts:
        case {
            "samples": int() as samples,
            "duration_ms": int() as duration_ms,
            "truncated": bool() as truncated,
        } if samples > 0 and duration_ms == -(-samples // 16):
            return Decoded(samples, duration_ms, truncated)
    raise SandboxKilled("protocol")
