"""Opens hostile media with libav. Runs only inside a sandboxed child."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from services.media import formats
from services.media.descriptor import DescriptorReader
from services.media.errors import BrokenMedia, EmptyMedia, MediaError, UnsupportedMedia

CONTAINER_OPTIONS = {
    "format_whitelist": ",".join(formats.DEMUXERS),
    "codec_whitelist": ",".join(formats.DECODERS),
    "protocol_whitelist": "none",
    "max_streams": "64",
}
BUFFER_BYTES = 1 << 16
SAMPLE_RATES_HZ = range(4_000, 384_001)
MAX_CHANNELS = 32
MAX_FAILURES = 5_000
USABLE_MS = 1_000
TAIL_BYTES = 1 << 17


class Source:
    """Audio stream 0 of an open container: its packets, and the frames that decode from them."""

    def __init__(self, container: InputContainer, reader: DescriptorReader) -> None:
        self.container = container
        self.stream = choose_stream(container)
        self.reader = reader
        self.head = reader.head(formats.HEAD_BYTES)
        self.name = formats.name_container(container.format.name, self.head)
        self.open_ended = formats.is_open_ended(self.name, self.head)
        self.has_video = any(is_moving(stream) for stream in container.streams)
        self.cut_short = False
        self.failures = 0

    def packets(self) -> Iterator[Packet[AudioStream]]:
        """Every packet, then the empty one that flushes the decoder. Stops early where the container breaks."""
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except MemoryError:
                raise
            except av.FFmpegError:
                self.cut_short = True
                return
            if packet is None:
                return
            self.cut_short = (packet.is_corrupt and not self.open_ended) or (self.cut_short and packet.size == 0)
            yield packet

    def frames(self, packet: Packet[AudioStream]) -> list[AudioFrame]:
        """What the packet decodes to; nothing when it is damaged.

        Raises UnsupportedMedia when its form is out of bounds, BrokenMedia after thousands of failures in a row.
        """
        try:
            frames = packet.decode()
        except MemoryError:
            raise
        except av.FFmpegError as error:
            self.failures += 1
            if self.failures > MAX_FAILURES:
                raise BrokenMedia("the audio stream does not decode") from error
            return []
        for frame in frames:
            check_form(frame.sample_rate, frame.layout.nb_channels)
            self.failures = 0
        return frames

    def ended_badly(self) -> bool:
        """Whether the audio stopped because something was damaged."""
        return self.cut_short or self.failures > 0

    def lacks_end(self, decoded_ms: int) -> bool:
        """Whether audio is missing: damage, a header that states more than decoded, an end that is not marked."""
        return (
            self.ended_badly() or self.declared_ms() > decoded_ms + USABLE_MS or formats.lacks_end(self.name, self.reader.tail(TAIL_BYTES))
        )

    def declared_ms(self) -> int:
        """The length the header states, 0 where it states none. To compare with, never to rely on."""
        if not formats.states_length(self.name, self.head):
            return 0
        if self.stream.duration and self.stream.time_base:
            return int(self.stream.duration * self.stream.time_base * 1000)
        return (self.container.duration or 0) // 1000

    def check_decoded(self, decoded_ms: int) -> None:
        """Raises BrokenMedia when too little decoded to be of use."""
        if decoded_ms == 0 or (decoded_ms < USABLE_MS and self.ended_badly()):
            raise BrokenMedia(f"the {self.name} container holds no audio that decodes")

    def check_whole(self, decoded_ms: int) -> None:
        """After the last packet. Raises BrokenMedia when too little decoded, and is not all there was."""
        self.check_decoded(decoded_ms)
        if decoded_ms < USABLE_MS and self.lacks_end(decoded_ms):
            raise BrokenMedia(f"the {self.name} container breaks off within its first second")


@contextmanager
def open_source(reader: DescriptorReader) -> Iterator[Source]:
    """The audio of the file.

    Raises EmptyMedia, UnsupportedMedia or BrokenMedia.
    """
    reader.seek(0)
    if reader.size_bytes == 0:
        raise EmptyMedia("the file has no bytes")
    with translated(reader), open_container(reader) as container:
        yield Source(container, reader)


def open_container(reader: DescriptorReader) -> InputContainer:
    """The container, opened by content alone."""
    return av.open(
        reader,
        mode="r",
        container_options=CONTAINER_OPTIONS,
        metadata_errors="replace",
        buffer_size=BUFFER_BYTES,
    )


@contextmanager
def translated(reader: DescriptorReader) -> Iterator[None]:
    """Turn what libav raises into a verdict on the media."""
    try:
        yield
    except (MediaError, MemoryError, ImportError):
        raise
    # Besides FFmpegError, PyAV raises OSError, ValueError, TypeError, UnicodeError and more on hostile input.
    except Exception as error:
        if formats.looks_accepted(reader.head(formats.HEAD_BYTES)):
            raise BrokenMedia(f"the container cannot be read: {explain(error)}") from error
        raise UnsupportedMedia("the file is not audio or video in an accepted container") from error


def explain(error: Exception) -> str:
    """libav's own words, or the kind of error where it has none."""
    return (isinstance(error, av.FFmpegError) and error.strerror) or type(error).__name__


def choose_stream(container: InputContainer) -> AudioStream:
    """The first audio stream; libav then skips the bytes of all others."""
    if not container.streams.audio:
        raise UnsupportedMedia("the file has no audio stream")
    chosen = container.streams.audio[0]
    for stream in container.streams:
        if stream.index != chosen.index:
            stream.discard = av.stream.Discard.all
    context = chosen.codec_context
    if context is None or context.name not in formats.DECODERS:
        raise UnsupportedMedia("the audio is in a codec that is not accepted")
    check_form(context.sample_rate, context.layout.nb_channels)
    context.thread_count = 1
    return chosen


def check_form(sample_rate_hz: int, channels: int) -> None:
    """Refuse a form that would make resampling explode: one second at 1 Hz is 16,000 samples out of one."""
    if sample_rate_hz not in SAMPLE_RATES_HZ:
        raise UnsupportedMedia(f"a sample rate of {sample_rate_hz} Hz is not accepted")
    if not 1 <= channels <= MAX_CHANNELS:
        raise UnsupportedMedia(f"{channels} channels are not accepted")


def is_moving(stream: av.stream.Stream) -> bool:
    """Whether this is video rather than a cover picture."""
    return stream.type == "video" and not stream.disposition & av.stream.Disposition.attached_pic
