"""Mixing channels of which nothing but their number is known. Runs only inside a sandboxed child."""

from itertools import pairwise

import av
from av.audio.frame import AudioFrame
from av.filter import Graph


def is_nameless(frame: AudioFrame) -> bool:
    """Whether libav knows no layout of so many channels, and so no way to mix them."""
    return all(channel.name == "NONE" for channel in frame.layout.channels)


class Mixer:
    """Mixes frames of one form to mono, each channel with the same weight."""

    def __init__(self, frame: AudioFrame) -> None:
        channels, rate_hz = frame.layout.nb_channels, frame.sample_rate
        weight = 1 / channels
        self.graph = Graph()
        form = f"sample_rate={rate_hz}:sample_fmt={frame.format.name}:channel_layout={frame.layout.name}:time_base=1/{rate_hz}"
        terms = "+".join(f"{weight:.6f}*c{channel}" for channel in range(channels))
        chain = [self.graph.add("abuffer", form), self.graph.add("pan", f"mono|c0={terms}"), self.graph.add("abuffersink")]
        for source, target in pairwise(chain):
            source.link_to(target)
        self.graph.configure()

    def mix(self, frame: AudioFrame) -> AudioFrame:
        """The frame in mono."""
        self.graph.push(frame)
        mixed = self.graph.pull()
        if not isinstance(mixed, AudioFrame):
            raise av.error.InvalidDataError(0, "the mixer gave no sound")
        return mixed
