"""The sample meeting: its sound, its turns and its reference files."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tools.speech.audio import SAMPLE_RATE_HZ, Samples, joined, silence, write_audio
from tools.speech.meeting_script import TITLE, TURNS
from tools.speech.voices import speak_english

SEED = 2
ROOM_TONE_RMS = 6.0
TAIL_SECONDS = 0.5


@dataclass(frozen=True)
class Turn:
    """One voice speaking; start and end in seconds of the file."""

    speaker: str
    start: float
    end: float
    text: str


def make_meeting(folder: Path) -> None:
    """Write meeting.flac, meeting.json, meeting.rttm and meeting.txt."""
    samples, turns = assembled(TURNS)
    write_audio(folder / "meeting.flac", with_room_tone(samples), "flac")
    described = described_meeting(len(samples), turns)
    (folder / "meeting.json").write_text(json.dumps(described, indent=2) + "\n")
    (folder / "meeting.rttm").write_text("".join(rttm_lines("meeting", turns)))
    (folder / "meeting.txt").write_text("".join(f"{turn.text}\n" for turn in turns))


def assembled(script: Sequence[tuple[str, float, str]]) -> tuple[Samples, list[Turn]]:
    """Say a script of (voice, pause before it in seconds, text), one turn after another."""
    parts: list[Samples] = []
    turns: list[Turn] = []
    position = 0
    for voice, pause_seconds, text in script:
        spoken = speak_english(voice, text)
        parts += [silence(pause_seconds), spoken]
        start = position + len(parts[-2])
        position = start + len(spoken)
        turns.append(Turn(voice, _seconds(start), _seconds(position), text))
    return joined([*parts, silence(TAIL_SECONDS)]), turns


def _seconds(samples: int) -> float:
    return round(samples / SAMPLE_RATE_HZ, 4)


def with_room_tone(samples: Samples) -> Samples:
    """The sound over a faint hiss (-75 dB of full scale), as every real room has."""
    hiss = np.random.default_rng(SEED).normal(0.0, ROOM_TONE_RMS, len(samples))
    return np.clip(samples + hiss, -32_768, 32_767).round().astype(np.int16)


def described_meeting(length: int, turns: Sequence[Turn]) -> dict[str, object]:
    """The content of meeting.json."""
    return {
        "title": TITLE,
        "file": "meeting.flac",
        "language": "en",
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "duration": _seconds(length),
        "voices": sorted({turn.speaker for turn in turns}),
        "turns": [asdict(turn) for turn in turns],
    }


def rttm_lines(name: str, turns: Sequence[Turn]) -> Iterator[str]:
    """Turns in NIST's Rich Transcription Time Marked format, one SPEAKER line each."""
    for turn in turns:
        length = turn.end - turn.start
        yield f"SPEAKER {name} 1 {turn.start:.4f} {length:.4f} <NA> <NA> {turn.speaker} <NA> <NA>\n"
