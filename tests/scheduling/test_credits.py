"""Windows by max-min fairness, and the bookkeeping around them."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasfeat_server.scheduling import windows
from nasfeat_server.scheduling.credits import FLOOR, Claim, Shares, is_news, share_credits, share_of_newcomer
from nasfeat_server.scheduling.windows import Window, WindowKeeper

_CLAIMS = st.lists(
    st.builds(
        Claim,
        window=st.integers(1, 64),
        ceiling=st.integers(1, 64),
        weight=st.sampled_from([0.25, 1.0, 4.0]),
        peak=st.integers(0, 64),
    ),
    max_size=20,
)


def _used(sizes: list[int], claims: list[Claim]) -> int:
    """Count the slots that the streams use, if each uses what it did."""
    return sum(min(window, claim.need) for window, claim in zip(sizes, claims, strict=True))


def _floors(claims: list[Claim]) -> int:
    return sum(min(FLOOR, claim.ceiling) for claim in claims)


@given(budget=st.integers(1, 500), claims=_CLAIMS)
def test_nobody_gets_more_than_it_could_use_or_less_than_the_floor(budget: int, claims: list[Claim]) -> None:
    """Every window lies between the floor and what the stream asked for, and could use."""
    for window, claim in zip(share_credits(budget, claims).windows, claims, strict=True):
        assert min(FLOOR, claim.ceiling) <= window <= claim.most <= claim.ceiling


@given(budget=st.integers(1, 500), claims=_CLAIMS)
def test_what_is_used_fits_into_the_slots(budget: int, claims: list[Claim]) -> None:
    """The streams together use at most the budget, unless the floors alone are more."""
    assert _used(share_credits(budget, claims).windows, claims) <= max(budget, _floors(claims))


@given(budget=st.integers(1, 500), claims=_CLAIMS)
def test_no_slot_stays_over_that_a_stream_could_use(budget: int, claims: list[Claim]) -> None:
    """If a stream has less than it needs, every slot is given to somebody."""
    sizes = share_credits(budget, claims).windows
    if any(window < claim.need for window, claim in zip(sizes, claims, strict=True)):
        assert _used(sizes, claims) >= min(budget, max(budget, _floors(claims)))


@given(budget=st.integers(10, 500), claims=_CLAIMS)
def test_whoever_is_cut_has_as_much_as_any_other(budget: int, claims: list[Claim]) -> None:
    """Max-min fair: beside a stream with less than it needs, none uses more by its weight, but for rounding."""
    sizes = share_credits(budget, claims).windows
    for window, claim in zip(sizes, claims, strict=True):
        if window < claim.need:
            for other, theirs in zip(sizes, claims, strict=True):
                used = min(other, theirs.need)
                assert (used - FLOOR - 1) / theirs.weight <= (window - FLOOR + 1) / claim.weight + 1e-9


def test_a_flood_gets_what_the_others_do_not_use() -> None:
    """Sixteen cameras that use two frames each and one flood in 64 slots: the cameras may double, the flood has 32."""
    quiet = [Claim(window=4, ceiling=32, weight=1.0, peak=2)] * 16
    flood = Claim(window=32, ceiling=32, weight=1.0, peak=32)
    assert share_credits(64, [*quiet, flood]).windows == [4] * 16 + [32]


@given(budget=st.integers(1, 500), claims=_CLAIMS, ceiling=st.integers(1, 64), weight=st.sampled_from([0.25, 1.0, 4.0]))
def test_a_newcomer_is_given_what_sharing_anew_would_about_give(
    budget: int, claims: list[Claim], ceiling: int, weight: float
) -> None:
    """It and the one that the shares were made with differ by the slots that were left, and by rounding."""
    newcomer = Claim(window=ceiling, ceiling=ceiling, weight=weight, peak=ceiling)
    shares = share_credits(budget, [*claims, newcomer])
    window, left = share_of_newcomer(shares, newcomer)
    assert min(FLOOR, ceiling) <= window <= ceiling
    assert window >= shares.windows[-1] - 1
    assert left.spare == max(0, shares.spare - window)


async def test_many_that_come_at_once_are_not_shared_out_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two thousand streams open: the slots are shared out anew for every eighth more, and windows fit all the same."""
    asked: list[int] = []

    def counted(budget: int, claims: Sequence[Claim]) -> Shares:
        asked.append(len(claims))
        return share_credits(budget, claims)

    monkeypatch.setattr(windows, "share_credits", counted)
    keeper = WindowKeeper(10_000)
    sizes: list[int] = []
    for _ in range(2000):
        window = keeper.open(ceiling=32, weight=1.0, announce=lambda _: None)
        sizes.append(window.size)
        for _ in range(window.size):
            await window.enter()
    assert len(asked) < 70
    assert sum(asked) < 10 * 2000
    assert sizes[0] == 32
    assert all(size in (5, 6) for size in sizes[-100:])


@given(window=st.integers(1, 64), announced=st.integers(1, 64))
def test_small_changes_are_not_announced(window: int, announced: int) -> None:
    """A message is sent for a change of an eighth or more, and of at least one frame."""
    assert is_news(window, announced) == (abs(window - announced) >= max(1, announced / 8))


async def test_a_window_lets_in_as_many_as_it_has_room_for() -> None:
    """The frame after the last waits until one leaves, or until the window grows."""
    window = Window(ceiling=2, weight=1.0)
    await window.enter()
    await window.enter()
    third = asyncio.ensure_future(window.enter())
    await asyncio.sleep(0)
    assert not third.done()
    window.leave()
    await third
    fourth = asyncio.ensure_future(window.enter())
    await asyncio.sleep(0)
    window.resize(3)
    await fourth
    assert window.in_flight == 3


async def test_a_window_that_shrank_lets_nobody_in_until_enough_have_left() -> None:
    """From three to one: two frames leave and nothing happens; with the third there is room for one."""
    window = Window(ceiling=3, weight=1.0)
    for _ in range(3):
        await window.enter()
    window.resize(1)
    waiting = asyncio.ensure_future(window.enter())
    for _ in range(2):
        window.leave()
        await asyncio.sleep(0)
        assert not waiting.done()
    window.leave()
    await waiting
    assert window.in_flight == 1


async def test_windows_follow_who_uses_them() -> None:
    """Two streams that fill their windows share the slots; when one falls quiet, the other gets what it left."""
    announced: dict[str, list[int]] = {"first": [], "second": []}
    keeper = WindowKeeper(32)
    first = keeper.open(ceiling=32, weight=1.0, announce=announced["first"].append)
    assert first.size == 32
    for _ in range(32):
        await first.enter()
    second = keeper.open(ceiling=32, weight=1.0, announce=announced["second"].append)
    assert second.size == 16
    for _ in range(16):
        await second.enter()
    keeper.adjust()
    assert (first.size, announced) == (16, {"first": [16], "second": []})
    for _ in range(32):
        first.leave()
    keeper.adjust()
    # The first filled its window since the last time; only now is it known to be quiet.
    assert first.size == 16
    keeper.adjust()
    assert announced == {"first": [16, 2], "second": [30]}
    assert (first.size, second.size) == (2, 30)
