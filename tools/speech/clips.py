"""Short clips for tests: one voice, two channels, a long pause, no speech, another language."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tools.speech.audio import SAMPLE_RATE_HZ, Samples, joined, silence, write_audio
from tools.speech.meeting import Turn, assembled
from tools.speech.sounds import arpeggio, pink_noise
from tools.speech.voices import speak_spanish

SEED = 3
OPUS_RATE_HZ = 48_000
OPUS_BIT_RATE_PER_CHANNEL = 48_000

HELLO = (("slt", 0.3, "Thank you for calling, we will be with you in a moment."),)
CALL = (
    ("rms", 0.4, "Good afternoon, I would like to know when the new office will open."),
    ("slt", 0.6, "We will open on Monday morning at the beginning of the month."),
    ("rms", 0.5, "That is very good news."),
)
LONG_PAUSE = (
    ("awb", 0.3, "The next question is the network."),
    ("awb", 6.0, "I think we have covered everything."),
)
SPANISH = "Buenos días a todos. La reunión empieza a las tres de la tarde en la oficina nueva."


@dataclass(frozen=True)
class Clip:
    """One file; samples are (samples,) or (2, samples), an empty language means no speech."""

    file: str
    kind: str
    language: str
    samples: Samples
    turns: Sequence[Turn] = ()

    def described(self) -> dict[str, object]:
        """The entry of clips.json: times and duration in seconds."""
        return {
            "file": f"clips/{self.file}",
            "kind": self.kind,
            "language": self.language,
            "channels": len(np.atleast_2d(self.samples)),
            "duration": round(self.samples.shape[-1] / SAMPLE_RATE_HZ, 4),
            "text": " ".join(turn.text for turn in self.turns),
            "turns": [asdict(turn) for turn in self.turns],
        }


def make_clips(folder: Path) -> None:
    """Write clips/* and clips.json."""
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    clips = [*spoken_clips(), *wordless_clips()]
    for clip in clips:
        _write(folder / "clips" / clip.file, clip.samples)
    entries = [clip.described() for clip in clips]
    (folder / "clips.json").write_text(json.dumps(entries, indent=2, ensure_ascii=False) + "\n")


def spoken_clips() -> list[Clip]:
    """The clips in which somebody speaks."""
    hello, hello_turns = assembled(HELLO)
    call, call_turns = assembled(CALL)
    pause, pause_turns = assembled(LONG_PAUSE)
    return [
        Clip("hello.flac", "speech", "en", hello, hello_turns),
        Clip("two_voices.ogg", "speech", "en", per_channel(call, call_turns), call_turns),
        Clip("long_pause.flac", "speech", "en", pause, pause_turns),
        spanish_clip(),
    ]


def wordless_clips() -> list[Clip]:
    """The clips in which nobody does."""
    return [
        Clip("music.ogg", "music", "", arpeggio()),
        Clip("noise.ogg", "noise", "", pink_noise(8.0, SEED)),
        Clip("silence.flac", "silence", "", silence(5.0)),
    ]


def spanish_clip() -> Clip:
    """One Spanish turn with 0.3 s of silence around it."""
    spoken = speak_spanish(SPANISH)
    edge = silence(0.3)
    turn = Turn("es", 0.3, round(0.3 + len(spoken) / SAMPLE_RATE_HZ, 4), SPANISH)
    return Clip("spanish.ogg", "speech", "es", joined([edge, spoken, edge]), [turn])


def per_channel(samples: Samples, turns: Sequence[Turn]) -> Samples:
    """A telephone call as recorders keep it: the first speaker left, everybody else right."""
    channels = np.zeros((2, len(samples)), np.int16)
    for turn in turns:
        span = slice(round(turn.start * SAMPLE_RATE_HZ), round(turn.end * SAMPLE_RATE_HZ))
        channels[int(turn.speaker != turns[0].speaker), span] = samples[span]
    return channels


def _write(path: Path, samples: Samples) -> None:
    if path.suffix == ".flac":
        return write_audio(path, samples, "flac")
    bit_rate = OPUS_BIT_RATE_PER_CHANNEL * len(np.atleast_2d(samples))
    return write_audio(path, samples, "libopus", bit_rate=bit_rate, rate_hz=OPUS_RATE_HZ)
