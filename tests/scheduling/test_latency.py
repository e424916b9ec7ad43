"""The line through what batches took."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasfeat_server.scheduling.latency import UNKNOWN, LatencyTracker, fit

_SIZES = (1, 2, 4, 8, 16, 32)
_SECONDS = st.floats(1e-5, 10)


@given(base_s=st.floats(0, 1), per_frame_s=st.floats(1e-6, 1), count=st.integers(2, 6))
def test_a_line_is_found_exactly(base_s: float, per_frame_s: float, count: int) -> None:
    """From two sizes on, measurements on a line give that line."""
    model = fit({size: base_s + per_frame_s * size for size in _SIZES[:count]})
    for size in _SIZES:
        assert math.isclose(model.predict_s(size), base_s + per_frame_s * size, rel_tol=1e-6, abs_tol=1e-9)


@given(wild=st.sampled_from(_SIZES[1:-1]), factor=st.floats(3, 100))
def test_one_size_measured_badly_does_not_turn_the_line(wild: int, factor: float) -> None:
    """Of six sizes one took many times too long: every estimate stays within 15 %."""
    measured = {size: 0.02 + 0.01 * size for size in _SIZES}
    measured[wild] *= factor
    model = fit(measured)
    assert all(abs(model.predict_s(size) / (0.02 + 0.01 * size) - 1) < 0.15 for size in _SIZES)


@given(measured=st.dictionaries(st.sampled_from(_SIZES), _SECONDS))
def test_a_larger_batch_never_takes_less(measured: dict[int, float]) -> None:
    """Whatever was measured, neither base nor slope is negative."""
    model = fit(measured)
    assert model.base_s >= 0
    assert model.per_frame_s >= 0


@given(seconds=st.lists(_SECONDS, min_size=8, max_size=8), spikes=st.lists(st.floats(100, 1000), max_size=7))
def test_slow_batches_now_and_then_are_ignored(seconds: list[float], spikes: list[float]) -> None:
    """Fewer than half of the batches of a size, however slow, do not lift its typical time above the others'."""
    tracker = LatencyTracker()
    for second in seconds + spikes:
        tracker.observe(4, second)
    assert tracker.model.predict_s(4) <= max(seconds) * (1 + 1e-9)


def test_a_device_that_slows_down_is_followed() -> None:
    """After some batches at the new speed, the old one is forgotten."""
    tracker = LatencyTracker()
    for seconds in [0.1] * 100 + [0.3] * 10:
        tracker.observe(1, seconds)
    assert tracker.model.predict_s(1) == pytest.approx(0.3)


def test_nothing_is_known_before_the_first_batch() -> None:
    """Then every estimate is 0: no deadline is given up on a guess."""
    assert LatencyTracker().model is UNKNOWN
    assert UNKNOWN.predict_s(32) == 0
