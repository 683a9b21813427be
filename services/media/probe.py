"""The facts of a piece of media, found in a sandboxed child."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.media import formats
from services.media.errors import SandboxKilled
from services.media.limits import decode_cpu_seconds
from services.media.sandbox import Sandbox
from services.media.wire import Json

# Ten hours of mp3 take about ten seconds, and a minute or two when their packets lie and all must be decoded.
PROBE_SECONDS = 180


@dataclass(frozen=True, slots=True)
class Probe:
    """What a piece of media is. Everything is measured or detected, nothing is a header's claim of length.

    duration_ms: of the first audio stream, rounded up. bit_rate: of that stream, in bit/s.
    """

    container: str
    codec: str
    duration_ms: int
    sample_rate_hz: int
    channels: int
    media_type: str
    has_video: bool
    bit_rate: int


async def probe(sandbox: Sandbox, fd: int, max_duration_ms: int) -> Probe:
    """Read the file behind the descriptor, to the last audio packet.

    Raises MediaError; MediaTooLong when there is more audio than `max_duration_ms`.
    """
    completed = await sandbox.run(
        "services.media.measure:measure",
        inputs=[fd],
        arguments={"max_duration_ms": max_duration_ms},
        limits=sandbox.limits_with(cpu_seconds=min(PROBE_SECONDS, decode_cpu_seconds(max_duration_ms))),
        timeout_seconds=PROBE_SECONDS,
    )
    return parse_probe(completed.result)


def parse_probe(facts: Mapping[str, Json]) -> Probe:
    """The facts, believed only if they have the form of facts. Raises SandboxKilled("protocol")."""
    match facts:
        case {
            "container": str() as container,
            "codec": str() as codec,
            "duration_ms": int() as duration_ms,
            "sample_rate_hz": int() as sample_rate_hz,
            "channels": int() as channels,
            "has_video": bool() as has_video,
            "bit_rate": int() as bit_rate,
        } if container in formats.MEDIA_TYPES and len(codec) <= 32 and duration_ms > 0 and bit_rate >= 0:
            media_type = formats.name_media_type(container, has_video)
            return Probe(container, codec, duration_ms, sample_rate_hz, channels, media_type, has_video, bit_rate)
    raise SandboxKilled("protocol")
