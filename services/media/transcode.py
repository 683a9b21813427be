"""Any audio to 16 kHz mono 16-bit PCM, in a stream. Runs only inside a sandboxed child."""

import os
import time
from collections.abc import Iterable, Iterator, Mapping

import av
from av.audio.frame import AudioFrame

from services.media.child import Report
from services.media.container import Source, open_source
from services.media.descriptor import DescriptorReader
from services.media.errors import MediaTooLong, TaskFailed
from services.media.mix import Mixer, is_nameless
from services.media.wire import Json

SAMPLE_RATE_HZ = 16_000
SAMPLE_BYTES = 2
SLACK_MS = 1_000
BLOCK_BYTES = 1 << 18
PROGRESS_SECONDS = 0.25
GATHERED_SAMPLES = 16_384


def transcode(report: Report, file: DescriptorReader, pcm_fd: int, *, max_duration_ms: int) -> Mapping[str, Json]:
    """Write the audio of `file` to `pcm_fd`; memory does not grow with its length."""
    sink = PcmSink(pcm_fd, max_duration_ms, report)
    with open_source(file) as source:
        for block in resample(decode_frames(source)):
            sink.write(block)
        sink.flush()
        duration_ms = whole_ms(sink.samples)
        source.check_whole(duration_ms)
        truncated = source.lacks_end(duration_ms)
    return {"samples": sink.samples, "duration_ms": duration_ms, "truncated": truncated}


def whole_ms(samples: int) -> int:
    """Milliseconds of 16 kHz samples, rounded up."""
    return -(-samples * 1000 // SAMPLE_RATE_HZ)


def decode_frames(source: Source) -> Iterator[AudioFrame]:
    """Every frame that decodes."""
    for packet in source.packets():
        yield from source.frames(packet)


def resample(frames: Iterable[AudioFrame]) -> Iterator[memoryview]:
    """Blocks of int16 little-endian mono samples. A change of rate or layout in mid-stream starts a new resampler."""
    form: tuple[str, str, int] | None = None
    stretch: Stretch | None = None
    for frame in frames:
        current = (frame.format.name, frame.layout.name, frame.sample_rate)
        if stretch is None or current != form:
            if stretch is not None:
                yield from stretch.rest()
            stretch, form = Stretch(frame), current
        # libav would fill gaps in hostile timestamps with silence.
        frame.pts = None
        yield from stretch.take(frame)
    if stretch is not None:
        yield from stretch.rest()


class Stretch:
    """Frames of the first one's form on their way through one resampler, some together: a call costs as much as 20 ms of sound do."""

    def __init__(self, first: AudioFrame) -> None:
        self.mixer = Mixer(first) if is_nameless(first) else None
        self.resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE_HZ)
        self.waiting = av.AudioFifo()

    def take(self, frame: AudioFrame) -> Iterator[memoryview]:
        """The samples that are done once this frame has come."""
        self.waiting.write(self.mixer.mix(frame) if self.mixer else frame)
        if self.waiting.samples >= GATHERED_SAMPLES:
            yield from samples_of(self.resampler.resample(self.waiting.read()))

    def rest(self) -> Iterator[memoryview]:
        """The samples that are still held."""
        if self.waiting.samples:
            yield from samples_of(self.resampler.resample(self.waiting.read()))
        yield from samples_of(self.resampler.resample(None))


def samples_of(frames: Iterable[AudioFrame]) -> Iterator[memoryview]:
    """The samples without the padding of the planes."""
    for frame in frames:
        yield memoryview(frame.planes[0])[: frame.samples * SAMPLE_BYTES]


class PcmSink:
    """Writes samples in large blocks, counts them, and stops past the limit."""

    def __init__(self, descriptor: int, max_duration_ms: int, report: Report) -> None:
        self.descriptor = descriptor
        self.max_samples = (max_duration_ms + SLACK_MS) * SAMPLE_RATE_HZ // 1000
        self.max_duration_ms = max_duration_ms
        self.report = report
        self.samples = 0
        self.pending = bytearray()
        self.reported_at = time.monotonic()

    def write(self, block: memoryview) -> None:
        """Take samples. Raises MediaTooLong past the limit."""
        self.samples += len(block) // SAMPLE_BYTES
        if self.samples > self.max_samples:
            raise MediaTooLong(f"the audio is longer than {self.max_duration_ms} ms")
        self.pending += block
        if len(self.pending) >= BLOCK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is pending, and tell how far this is."""
        with memoryview(self.pending) as rest:
            written = 0
            while written < len(rest):
                written += self.write_some(rest[written:])
        self.pending.clear()
        if time.monotonic() - self.reported_at >= PROGRESS_SECONDS:
            self.reported_at = time.monotonic()
            self.report(whole_ms(self.samples))

    def write_some(self, block: memoryview) -> int:
        """Bytes written. Raises TaskFailed, for an OSError would be taken for a fault of the media."""
        try:
            return os.write(self.descriptor, block)
        except OSError as error:
            raise TaskFailed(f"{type(error).__name__}: {error}") from error
