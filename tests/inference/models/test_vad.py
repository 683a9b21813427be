"""Voice activity tells speech from everything else, however the file comes in."""

from collections.abc import Callable

import numpy as np
import pytest

from services.inference.models.vad import FRAME_SAMPLES, SileroVad
from services.inference.models.vad_state import VadState, gain_for
from services.inference.pcm import Pcm, duration_ms, loud_level_dbfs
from services.inference.windows import find_regions, speech_ratio


def ratio_of(vad: SileroVad, pcm: Pcm) -> float:
    probabilities, _ = vad.speech_probabilities(pcm, VadState(gain=gain_for(loud_level_dbfs(pcm))))
    return speech_ratio(find_regions(probabilities, duration_ms(pcm)), duration_ms(pcm))


@pytest.mark.parametrize("name", ["music.ogg", "noise.ogg", "silence.flac"])
def test_music_noise_and_silence_are_not_speech(vad: SileroVad, clip: Callable[[str], Pcm], name: str) -> None:
    assert ratio_of(vad, clip(name)) < 0.05


@pytest.mark.parametrize(("name", "least"), [("hello.flac", 0.6), ("spanish.ogg", 0.7), ("two_voices.ogg", 0.6)])
def test_speech_is_found_in_any_language(vad: SileroVad, clip: Callable[[str], Pcm], name: str, least: float) -> None:
    assert ratio_of(vad, clip(name)) > least


def test_quiet_speech_is_found_like_loud_speech(vad: SileroVad, clip: Callable[[str], Pcm]) -> None:
    loud = clip("two_voices.ogg")
    quiet = (loud / 50).astype(np.int16)
    assert ratio_of(vad, quiet) == pytest.approx(ratio_of(vad, loud), abs=0.05)


def test_speech_is_found_in_a_quiet_file_of_silence(vad: SileroVad, clip: Callable[[str], Pcm]) -> None:
    words = (clip("hello.flac")[8_000:32_000] / 30).astype(np.int16)
    room = np.random.default_rng(0).normal(0, 1.5, 60 * 16_000).round().astype(np.int16)
    room[480_000 : 480_000 + len(words)] += words
    probabilities, _ = vad.speech_probabilities(room, VadState(gain=gain_for(loud_level_dbfs(room))))
    regions = find_regions(probabilities, duration_ms(room))
    assert regions
    assert all(29_500 <= region.start_ms < region.end_ms <= 32_000 for region in regions)


def test_the_loud_level_does_not_depend_on_the_share_of_silence(clip: Callable[[str], Pcm]) -> None:
    talk = clip("two_voices.ogg")
    with_silence = np.concatenate([talk, np.zeros(4 * len(talk), np.int16)])
    assert loud_level_dbfs(with_silence) == pytest.approx(loud_level_dbfs(talk), abs=4)
    assert loud_level_dbfs(np.zeros(16_000, np.int16)) == loud_level_dbfs(np.zeros(0, np.int16)) == -np.inf


def test_a_file_in_pieces_gives_the_probabilities_of_the_whole(vad: SileroVad, clip: Callable[[str], Pcm]) -> None:
    pcm = clip("two_voices.ogg")
    whole, _ = vad.speech_probabilities(pcm, VadState(gain=1.5))
    state, pieces = VadState(gain=1.5), []
    for start in range(0, len(pcm), 37 * FRAME_SAMPLES):
        found, state = vad.speech_probabilities(pcm[start : start + 37 * FRAME_SAMPLES], state)
        pieces.append(found)
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-6)


def test_there_is_one_probability_per_started_frame(vad: SileroVad) -> None:
    for samples, frames in ((0, 0), (1, 1), (512, 1), (513, 2)):
        assert vad.speech_probabilities(np.zeros(samples, np.int16), VadState())[0].shape == (frames,)


def test_nothing_follows_a_piece_that_was_padded(vad: SileroVad) -> None:
    _, state = vad.speech_probabilities(np.zeros(700, np.int16), VadState())
    with pytest.raises(ValueError, match="last piece"):
        vad.speech_probabilities(np.zeros(512, np.int16), state)
