"""Every form of the sample is the same sound, and the samples are what their references say."""

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tools.speech.audio import SAMPLE_RATE_HZ, Samples, read_audio
from tools.speech.forms import FORMS, write_form

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
LONGEST_DIFFERENCE_SECONDS = 0.06
LEAST_CORRELATION = 0.95


@pytest.fixture(scope="module")
def meeting() -> dict[str, Any]:
    """The reference of the sample meeting."""
    content: dict[str, Any] = json.loads((SAMPLES / "meeting.json").read_text())
    return content


@pytest.fixture(scope="module")
def meeting_samples() -> Samples:
    """The sound of the sample meeting."""
    return read_audio(SAMPLES / "meeting.flac")


def described_clips() -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = json.loads((SAMPLES / "clips.json").read_text())
    return content


def best_correlation(left: Samples, right: Samples) -> float:
    """The largest normalised correlation over shifts of up to 60 ms."""
    length = 1 << (len(left) + len(right)).bit_length()
    spectra = [np.fft.rfft(x.astype(np.float64), length) for x in (left, right)]
    products = np.fft.irfft(spectra[0] * np.conj(spectra[1]), length)
    reach = round(LONGEST_DIFFERENCE_SECONDS * SAMPLE_RATE_HZ)
    near = np.concatenate([products[: reach + 1], products[-reach:]])
    norms = [np.linalg.norm(x.astype(np.float64)) for x in (left, right)]
    return float(near.max() / (norms[0] * norms[1]))


def mean_square(samples: Samples, spans: Iterable[tuple[float, float]]) -> float:
    parts: list[NDArray[np.float64]] = [
        samples[round(start * SAMPLE_RATE_HZ) : round(end * SAMPLE_RATE_HZ)].astype(np.float64) for start, end in spans
    ]
    return float(np.mean(np.concatenate(parts) ** 2))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("suffix", sorted(FORMS))
def test_every_form_is_the_same_sound(tmp_path: Path, suffix: str, channels: Literal[1, 2]) -> None:
    source = SAMPLES / "clips" / "hello.flac"
    path = write_form(source, tmp_path / f"hello{suffix}", channels)
    with av.open(path) as container:
        assert container.streams.audio[0].channels == channels
        assert bool(container.streams.video) == bool(FORMS[suffix].video_codec)
    expected, decoded = read_audio(source), read_audio(path)
    difference_seconds = abs(len(decoded) - len(expected)) / SAMPLE_RATE_HZ
    assert difference_seconds <= LONGEST_DIFFERENCE_SECONDS
    assert best_correlation(expected, decoded) >= LEAST_CORRELATION


def test_a_form_is_the_same_file_every_time(tmp_path: Path) -> None:
    source = SAMPLES / "clips" / "hello.flac"
    for suffix in FORMS:
        once = write_form(source, tmp_path / f"once{suffix}").read_bytes()
        assert write_form(source, tmp_path / f"again{suffix}").read_bytes() == once


def test_another_sound_does_not_pass_for_the_same() -> None:
    hello, other = (read_audio(SAMPLES / "clips" / f) for f in ("hello.flac", "long_pause.flac"))
    assert best_correlation(hello, other) < LEAST_CORRELATION / 2


def test_turns_are_ordered_and_cover_the_meeting(meeting: dict[str, Any], meeting_samples: Samples) -> None:
    turns = meeting["turns"]
    edges = [edge for turn in turns for edge in (turn["start"], turn["end"])]
    assert edges == sorted(edges)
    assert meeting["duration"] == pytest.approx(len(meeting_samples) / SAMPLE_RATE_HZ, abs=1e-3)
    pauses = np.diff([0.0, *edges, meeting["duration"]])[::2]
    assert pauses.min() > 0
    assert pauses.max() <= 0.8001
    assert {turn["speaker"] for turn in turns} == set(meeting["voices"])
    assert meeting["sample_rate_hz"] == SAMPLE_RATE_HZ


def test_turns_are_loud_and_the_pauses_between_them_are_not(meeting: dict[str, Any], meeting_samples: Samples) -> None:
    turns = [(turn["start"], turn["end"]) for turn in meeting["turns"]]
    gaps = [(end, start) for (_, end), (start, _) in pairwise(turns)]
    loudest_gap = max(mean_square(meeting_samples, [gap]) for gap in gaps)
    quietest_turn = min(mean_square(meeting_samples, [turn]) for turn in turns)
    assert quietest_turn > 1_000 * loudest_gap
    for start, end in turns:
        for edge in ((start, start + 0.1), (end - 0.1, end)):
            assert mean_square(meeting_samples, [edge]) > 10 * loudest_gap


def test_text_and_rttm_say_what_the_reference_says(meeting: dict[str, Any]) -> None:
    turns = meeting["turns"]
    assert (SAMPLES / "meeting.txt").read_text().splitlines() == [turn["text"] for turn in turns]
    lines = [line.split() for line in (SAMPLES / "meeting.rttm").read_text().splitlines()]
    for turn, line in zip(turns, lines, strict=True):
        start, length = float(line[3]), float(line[4])
        assert (line[0], line[7]) == ("SPEAKER", turn["speaker"])
        assert (start, start + length) == pytest.approx((turn["start"], turn["end"]), abs=1e-3)


def test_every_clip_is_listed_and_is_as_described() -> None:
    clips = described_clips()
    listed = {clip["file"] for clip in clips}
    assert listed == {f"clips/{path.name}" for path in (SAMPLES / "clips").iterdir()}
    for clip in clips:
        samples = read_audio(SAMPLES / clip["file"])
        assert clip["duration"] == pytest.approx(len(samples) / SAMPLE_RATE_HZ, abs=0.06)
        with av.open(SAMPLES / clip["file"]) as container:
            assert container.streams.audio[0].channels == clip["channels"]
        edges = [edge for turn in clip["turns"] for edge in (turn["start"], turn["end"])]
        assert edges == sorted(edges)
        assert bool(clip["turns"]) == (clip["kind"] == "speech") == bool(clip["language"])


def test_speakers_of_the_call_have_a_channel_each() -> None:
    clip = next(clip for clip in described_clips() if clip["file"].endswith("two_voices.ogg"))
    with av.open(SAMPLES / clip["file"]) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
        rate_hz = container.streams.audio[0].rate
    left, right = np.concatenate(frames, axis=1)
    for turn in clip["turns"]:
        span = slice(round(turn["start"] * rate_hz), round(turn["end"] * rate_hz))
        speaking, silent = (left, right) if turn["speaker"] == "rms" else (right, left)
        assert np.mean(speaking[span] ** 2) > 100 * np.mean(silent[span] ** 2)
