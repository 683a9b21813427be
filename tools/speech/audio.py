"""Sound in memory and on disk, through PyAV."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
FRAME_SAMPLES = 1_024
LAYOUTS = {1: "mono", 2: "stereo"}

Samples = NDArray[np.int16]


def silence(seconds: float) -> Samples:
    """Digital silence, (samples,) int16 at 16 kHz."""
    return np.zeros(round(seconds * SAMPLE_RATE_HZ), np.int16)


def read_audio(path: Path) -> Samples:
    """The first audio stream of a file, mixed down: (samples,) int16, mono, 16 kHz."""
    resampler = AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
    with av.open(path) as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(np.int16)


def write_audio(path: Path, samples: Samples, codec: str, *, bit_rate: int = 0, rate_hz: int = SAMPLE_RATE_HZ) -> None:
    """Write one sound with one codec into the container its suffix names.

    samples: (samples,) or (2, samples) int16 at 16 kHz; rate_hz and bit_rate are the encoder's.
    """
    channels = np.atleast_2d(samples)
    with open_output(path) as container:
        stream = add_audio_stream(container, codec, len(channels), bit_rate, rate_hz)
        encode_audio(container, stream, channels)


def open_output(path: Path) -> OutputContainer:
    """A container without dates, random ids or tool names: the same input gives the same bytes."""
    return av.open(path, "w", options={"fflags": "+bitexact"})


def add_audio_stream(container: OutputContainer, codec: str, channels: int, bit_rate: int, rate_hz: int) -> AudioStream:
    """Declare an audio stream of one or two channels; containers take no stream once muxing began."""
    stream = container.add_stream(codec, rate=rate_hz, layout=LAYOUTS[channels])
    if not isinstance(stream, AudioStream):
        raise TypeError(f"{codec} is not an audio codec")
    if bit_rate:
        stream.bit_rate = bit_rate
    stream.codec_context.flags |= av.codec.context.Flags.bitexact
    return stream


def encode_audio(container: OutputContainer, stream: AudioStream, channels: Samples) -> None:
    """Write (channels, samples) int16 at 16 kHz to a declared stream, to its end."""
    for frame in _resampled(stream, _frames(channels, LAYOUTS[len(channels)])):
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _frames(channels: Samples, layout: str) -> Iterator[AudioFrame]:
    for start in range(0, channels.shape[1], FRAME_SAMPLES):
        interleaved = channels[:, start : start + FRAME_SAMPLES].T.reshape(1, -1)
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(interleaved), "s16", layout)
        frame.sample_rate = SAMPLE_RATE_HZ
        frame.pts = start
        yield frame


def _resampled(stream: AudioStream, frames: Iterator[AudioFrame]) -> Iterator[AudioFrame]:
    context = stream.codec_context
    resampler = AudioResampler(format=context.format, layout=context.layout, rate=context.rate)
    for frame in frames:
        yield from resampler.resample(frame)
    yield from resampler.resample(None)


def joined(parts: Sequence[Samples]) -> Samples:
    """Sounds one after another."""
    return np.concatenate(parts).astype(np.int16)
