"""The same sound in the containers and codecs people upload."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tools.speech.audio import (
    SAMPLE_RATE_HZ,
    add_audio_stream,
    encode_audio,
    open_output,
    read_audio,
)

VIDEO_FRAMES_PER_SECOND = 5
VIDEO_WIDTH, VIDEO_HEIGHT = 64, 48


@dataclass(frozen=True)
class Form:
    """How one kind of file is encoded; bit rates are per channel, 0 for lossless codecs."""

    codec: str
    rate_hz: int
    bit_rate: int = 0
    video_codec: str = ""


# Vorbis is left out: PyAV's wheels carry FFmpeg's own encoder only, which is experimental.
# Bit rates at which PocketSphinx hears the words of the lossless file.
FORMS = {
    ".wav": Form("pcm_s16le", SAMPLE_RATE_HZ),
    ".flac": Form("flac", SAMPLE_RATE_HZ),
    ".mp3": Form("libmp3lame", 44_100, 192_000),
    ".m4a": Form("aac", 44_100, 192_000),
    ".ogg": Form("libopus", 48_000, 128_000),
    ".webm": Form("libopus", 48_000, 128_000),
    ".mp4": Form("aac", 44_100, 192_000, video_codec="mpeg4"),
    ".mov": Form("aac", 44_100, 192_000, video_codec="mpeg4"),
}


def write_form(source: Path, path: Path, channels: Literal[1, 2] = 1) -> Path:
    """Write a sound in the form the suffix of path names, and return path.

    Two channels carry the same sound. Raises KeyError for a suffix outside FORMS.
    """
    form = FORMS[path.suffix]
    mono = read_audio(source)
    samples = np.stack([mono] * channels)
    bit_rate = form.bit_rate * channels
    with open_output(path) as container:
        video = _add_video_stream(container, form.video_codec) if form.video_codec else None
        audio = add_audio_stream(container, form.codec, channels, bit_rate, form.rate_hz)
        if video:
            _encode_video(container, video, len(mono) / SAMPLE_RATE_HZ)
        encode_audio(container, audio, samples)
    return path


def _add_video_stream(container: OutputContainer, codec: str) -> VideoStream:
    stream = container.add_stream(codec, rate=VIDEO_FRAMES_PER_SECOND)
    if not isinstance(stream, VideoStream):
        raise TypeError(f"{codec} is not a video codec")
    stream.width, stream.height, stream.pix_fmt = VIDEO_WIDTH, VIDEO_HEIGHT, "yuv420p"
    return stream


def _encode_video(container: OutputContainer, stream: VideoStream, seconds: float) -> None:
    """A small picture that slowly brightens, as long as the sound."""
    for index in range(int(seconds * VIDEO_FRAMES_PER_SECOND)):
        picture = np.full((VIDEO_HEIGHT, VIDEO_WIDTH, 3), index % 256, np.uint8)
        container.mux(stream.encode(VideoFrame.from_ndarray(picture, "rgb24")))
    container.mux(stream.encode(None))
