"""What is traced, and that it is never too much."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from nasfeat_server.telemetry.sampling import Sampler

_YES, _NO = True, False


@given(draw=st.floats(0, 1, exclude_max=True), ratio=st.floats(0, 1))
def test_the_client_decides_before_the_ratio(draw: float, ratio: float) -> None:
    """What it wants is traced, what it does not is not; of what it leaves open it is the ratio, all or nothing too."""
    sampler = Sampler(ratio=ratio, limit=10, draw=lambda: draw, clock=lambda: 0.0)
    assert sampler.takes(_YES)
    assert not sampler.takes(_NO)
    assert sampler.takes(None) == (draw < ratio)
    assert Sampler(ratio=1, limit=1, draw=lambda: draw).takes(None)
    assert not Sampler(ratio=0, limit=1, draw=lambda: draw).takes(None)
    assert sampler.limited == 0


@given(
    limit=st.floats(0.1, 50),
    waits_s=st.lists(st.sampled_from((0.0, 0.001, 0.1, 3.0)), max_size=300),
    ratio=st.just(1.0),
)
def test_no_second_has_more_than_the_limit(limit: float, waits_s: list[float], ratio: float) -> None:
    """In any time there are no more than the limit allows for it, and a burst; the others are counted."""
    now = [0.0]
    sampler = Sampler(ratio=ratio, limit=limit, clock=lambda: now[0])
    times = []
    for wait_s in waits_s:
        now[0] += wait_s
        if sampler.takes(_YES):
            times.append(now[0])
    assert len(times) + sampler.limited == len(waits_s)
    for (first, begun_at), (last, ended_at) in itertools.combinations(enumerate(times), 2):
        assert last - first + 1 <= limit * (ended_at - begun_at) + max(1.0, limit) + 1e-6


def test_what_nobody_wants_does_not_count_against_the_limit() -> None:
    """A flood that is not sampled leaves the limit to those that are."""
    sampler = Sampler(ratio=0, limit=1, clock=lambda: 0.0)
    assert not any(sampler.takes(decided) for decided in (_NO, None) for _ in range(1000))
    assert sampler.takes(_YES)
    assert sampler.limited == 0
