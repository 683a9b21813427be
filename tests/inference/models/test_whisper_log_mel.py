"""The spectrogram does not depend on how a window was padded."""

import numpy as np
import pytest

from services.inference.models.whisper.log_mel import WINDOW_SAMPLES, AudioTooLong, LogMel
from tests.inference.conftest import Heard


@pytest.mark.parametrize("samples", [0, 1, 159, 200, 16_000, 479_639, 479_800, 479_999])
def test_short_audio_sounds_like_itself_before_silence(samples: int, meeting: Heard) -> None:
    pcm = meeting.pcm[:samples]
    np.testing.assert_array_equal(LogMel(80)(pcm), LogMel(80)(np.pad(pcm, (0, WINDOW_SAMPLES - samples))))


@pytest.mark.parametrize("bands", [80, 128])
def test_shape_and_range(bands: int, meeting: Heard) -> None:
    spectrogram = LogMel(bands)(meeting.pcm[:160_000])
    assert spectrogram.shape == (bands, 3_000)
    assert spectrogram.dtype == np.float32
    assert spectrogram.max() - spectrogram.min() == pytest.approx(2.0, abs=1e-6)


def test_more_than_a_window_is_refused() -> None:
    with pytest.raises(AudioTooLong):
        LogMel(80)(np.zeros(WINDOW_SAMPLES + 1, np.int16))


def test_windows_side_by_side_are_as_each_alone(meeting: Heard) -> None:
    windows = [meeting.pcm[start : start + 160_000] for start in (0, 80_000, 160_000)]
    np.testing.assert_array_equal(LogMel(80).batch(windows, threads=2), np.stack([LogMel(80)(pcm) for pcm in windows]))
