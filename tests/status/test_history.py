"""What the last looks say of now."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasfeat_server.status.history import WINDOW_S, History, Look
from nasfeat_server.telemetry.events import Outcome
from nasfeat_server.telemetry.figures import FrameFigures

_START = Look(at=0.0, frames=FrameFigures(in_flight=0, outcomes=dict.fromkeys(Outcome, 0), stages={}), devices=())


def _look(at: float, **outcomes: int) -> Look:
    told = dict.fromkeys(Outcome, 0) | {Outcome(name): count for name, count in outcomes.items()}
    return Look(at=at, frames=dataclasses.replace(_START.frames, outcomes=told), devices=())


def _history(*looks: Look) -> History:
    history = History(_START)
    for look in looks:
        history.add(look)
    return history


def test_the_first_look_is_compared_to_the_start() -> None:
    """However long ago that was: there is nothing else."""
    assert _history(_look(3600.0)).base().at == 0.0


def test_looks_of_this_moment_are_no_window() -> None:
    """Two looks within a second are both compared to the start; a window of a second would show noise."""
    assert _history(_look(3600.0), _look(3601.0)).base().at == 0.0


def test_recent_looks_are_preferred() -> None:
    """As soon as there is one of five seconds ago, hours do not count any more."""
    assert _history(_look(3600.0), _look(3601.0), _look(3605.0)).base().at == 3600.0


@given(gaps=st.lists(st.floats(0.5, 200), max_size=300))
def test_the_window_is_a_minute_at_most_while_somebody_looks(gaps: list[float]) -> None:
    """It is of up to a minute; or it begins with the last look before that, if nobody looked meanwhile."""
    history, now = _history(), 0.0
    times = [0.0]
    for gap in gaps:
        now += gap
        times.append(now)
        history.add(_look(now))
    window_s = now - history.base().at
    recent = [at for at in times[-200:] if 5.0 <= now - at <= WINDOW_S]
    if recent:
        assert window_s == now - recent[0]
    else:
        assert window_s > WINDOW_S or window_s == now


def test_rates_are_those_between_looks() -> None:
    """By outcome, and without those that there were none of."""
    history = _history(_look(2.0, ok=10), _look(3.0, ok=15, invalid=2))
    first, second = history.rates(60.0)
    assert (first.seconds, dict(first.per_second)) == (2.0, {Outcome.OK: 5.0})
    assert second.at == 3.0
    assert second.per_second == pytest.approx({Outcome.OK: 5.0, Outcome.INVALID: 2.0})
    assert history.rates(0.5) == [second]


def test_looks_are_forgotten() -> None:
    """A page that stays open for a day costs no more than one that was open for minutes."""
    assert len(_history(*(_look(float(at)) for at in range(10_000))).rates(1e9)) < 300
