"""Windows hold all speech once, fit the engine, and are the same on every plan."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from services.inference.pcm import Floats
from services.inference.windows import FRAME_MS, Region, find_regions, plan_windows, speech_ratio
from tests.inference.conftest import Heard

probabilities = st.one_of(
    arrays.arrays(np.float32, st.integers(0, 400), elements=st.floats(0, 1, width=32)),
    st.lists(st.tuples(st.sampled_from([0.0, 0.3, 0.45, 0.9]), st.integers(1, 600)), max_size=12).map(
        lambda runs: np.concatenate([np.zeros(0, np.float32), *(np.full(n, p, np.float32) for p, n in runs)])
    ),
)


def heard(*runs: tuple[float, int]) -> Floats:
    return np.concatenate([np.full(frames, probability, np.float32) for probability, frames in runs])


@given(probabilities, st.floats(1, 30))
def test_windows_hold_every_region_exactly_once_and_fit(found: Floats, seconds: float) -> None:
    duration_ms = len(found) * FRAME_MS
    regions = find_regions(found, duration_ms)
    windows = plan_windows(regions, found, seconds)
    times = np.zeros(duration_ms, np.int8)
    for window in windows:
        times[window.start_ms : window.end_ms] += 1
        assert 0 < window.duration_ms <= seconds * 1000
    assert times.max(initial=0) <= 1
    assert all(times[region.start_ms : region.end_ms].all() for region in regions)
    assert [window.index for window in windows] == list(range(len(windows)))


@given(probabilities)
def test_regions_are_apart_in_order_and_inside_the_file(found: Floats) -> None:
    duration_ms = max(0, len(found) * FRAME_MS - 7)
    regions = find_regions(found, duration_ms)
    assert all(0 <= region.start_ms < region.end_ms <= duration_ms for region in regions)
    assert all(one.end_ms < two.start_ms for one, two in pairwise(regions))
    assert 0 <= speech_ratio(regions, duration_ms) <= 1


@given(probabilities)
def test_no_sure_and_lasting_speech_is_left_out(found: Floats) -> None:
    regions = find_regions(found, len(found) * FRAME_MS)
    for start in range(len(found) - 8):
        if (found[start : start + 8] >= 0.5).all():
            assert any(r.start_ms <= start * FRAME_MS and r.end_ms >= (start + 8) * FRAME_MS for r in regions)


def test_the_meeting_is_planned_the_same_twice(meeting: Heard) -> None:
    plans = [plan_windows(meeting.regions, meeting.probabilities.copy(), 10) for _ in range(2)]
    assert plans[0] == plans[1]
    assert len(plans[0]) > 7


def test_a_region_that_is_too_long_is_cut_where_speech_is_least_likely() -> None:
    found = heard((0.9, 500), (0.4, 9), (0.9, 300))
    (region,) = find_regions(found, len(found) * FRAME_MS)
    first, second = plan_windows([region], found, 20)
    assert first.end_ms == second.start_ms
    assert 500 * FRAME_MS < first.end_ms < 509 * FRAME_MS


def test_a_short_dip_is_no_end_and_a_long_one_is() -> None:
    assert len(find_regions(heard((0.9, 30), (0.1, 7), (0.9, 30)), 67 * FRAME_MS)) == 1
    assert len(find_regions(heard((0.9, 30), (0.1, 10), (0.9, 30)), 70 * FRAME_MS)) == 2


def test_a_wavering_voice_stays_one_region() -> None:
    found = heard((0.9, 20), (0.3, 40), (0.9, 20))
    assert len(find_regions(found, len(found) * FRAME_MS)) == 1


def test_a_click_is_not_speech() -> None:
    found = heard((0.0, 50), (0.95, 5), (0.0, 50))
    assert find_regions(found, len(found) * FRAME_MS) == []


def test_a_long_pause_parts_windows_and_a_short_one_does_not() -> None:
    found = np.zeros(1000, np.float32)
    near, far = Region(3_000, 4_000), Region(9_000, 10_000)
    assert [w.end_ms for w in plan_windows([Region(0, 2_000), near, far], found, 30)] == [4_000, 10_000]


def test_times_in_a_window_map_back_into_the_file() -> None:
    (window,) = plan_windows([Region(5_000, 8_000)], np.zeros(400, np.float32), 30)
    assert [window.to_file_ms(at) for at in (-5, 0, 1_200, 3_000, 3_500)] == [5_000, 5_000, 6_200, 8_000, 8_000]
