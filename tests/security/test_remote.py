"""Accounts of tenants that another process keeps: the limits are exact, and what a front end had comes back."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from nasfeat_server.errors import OverloadedError
from nasfeat_server.scheduling.quota import Rate
from nasfeat_server.scheduling.remote.link import Handler, Link
from nasfeat_server.security.accounts import OwnAccount
from nasfeat_server.security.remote import AccountsCounterpart, RemoteAccount, RemoteAccounts
from nasfeat_server.security.tokens import Quota
from remote_parts import linked
from serving import until

_QUOTA = Quota(rate=Rate(per_second=1e-6, burst=2), max_streams=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """One front end's way to the account of the tenant "a".

    Attributes:
        far: its end of the link.
        lost: set when the other end has heard all.
    """

    accounts: RemoteAccounts
    account: RemoteAccount
    counterpart: AccountsCounterpart
    far: Link
    lost: asyncio.Event

    async def close(self) -> None:
        """End as a front end does that dies."""
        self.far.close()
        await self.lost.wait()
        self.counterpart.close()
        # The transports close in the next turn of the loop.
        await asyncio.sleep(0)


async def _end(kept: OwnAccount) -> _End:
    handlers: dict[str, Handler] = {}
    heard: dict[str, Handler] = {}
    near, far, lost = await linked(handlers, heard)
    counterpart = AccountsCounterpart(lambda name: kept if name == "a" else None, near.send)
    handlers.update(counterpart.handlers)
    accounts = RemoteAccounts(far.send)
    heard.update(accounts.handlers)
    return _End(
        accounts=accounts,
        account=accounts.open("a", _QUOTA),
        counterpart=counterpart,
        far=far,
        lost=lost,
    )


@pytest.fixture
def kept() -> OwnAccount:
    """Give the account itself."""
    return OwnAccount("a", _QUOTA)


@pytest.fixture
async def ends(kept: OwnAccount) -> AsyncIterator[tuple[_End, _End]]:
    """Give two front ends."""
    both = await _end(kept), await _end(kept)
    yield both
    for end in both:
        if not end.lost.is_set():
            await end.close()


async def test_frames_of_all_pass_at_one_rate(kept: OwnAccount, ends: tuple[_End, _End]) -> None:
    """The burst is theirs together; the next frame is refused with when to come again, or waits in the one line."""
    one, other = ends
    assert [await end.account.pass_at_once() for end in (one, other, one)] == [True, True, False]
    assert one.account.ready_in_s() == pytest.approx(1e6, rel=0.01)
    waiting = asyncio.ensure_future(other.account.pass_in_turn())
    await until(lambda: kept.meter.waiting == 1)
    one.account.give_back()
    await waiting
    for end in ends:
        end.account.admit()
        end.accounts.report()
    await until(lambda: kept.meter.admitted == 2)
    assert kept.meter.held_back == 2


async def test_who_gives_up_leaves_the_line(kept: OwnAccount, ends: tuple[_End, _End]) -> None:
    """And one whose turn comes in that moment gives it back."""
    one, other = ends
    for _ in range(2):
        await one.account.pass_in_turn()
    waiting = [asyncio.ensure_future(end.account.pass_in_turn()) for end in ends]
    await until(lambda: kept.meter.waiting == 2)
    waiting[0].cancel()
    await until(lambda: kept.meter.waiting == 1)
    # Both on their way at once, in opposite directions.
    kept.meter.give_back()
    waiting[1].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await until(lambda: kept.meter.ready_in_s() == 0)
    assert await other.account.pass_at_once()
    assert not await one.account.pass_at_once()


async def test_streams_of_all_are_counted(kept: OwnAccount, ends: tuple[_End, _End]) -> None:
    """The limit is exact, over both."""
    one, other = ends
    await one.account.enter()
    await other.account.enter()
    with pytest.raises(OverloadedError, match="tenant a has 2 streams open"):
        await one.account.enter()
    other.account.leave()
    await one.account.enter()
    assert kept.streams == 2


async def test_what_a_front_end_had_comes_back_when_it_dies(kept: OwnAccount, ends: tuple[_End, _End]) -> None:
    """Its streams, and its places in the line."""
    one, other = ends
    await one.account.enter()
    await other.account.enter()
    for _ in range(2):
        await one.account.pass_in_turn()
    waiting = asyncio.ensure_future(one.account.pass_in_turn())
    await until(lambda: kept.meter.waiting == 1)
    await one.close()
    assert (kept.streams, kept.meter.waiting) == (1, 0)
    waiting.cancel()
    await other.account.enter()


async def test_one_who_is_not_known_there_yet_is_not_held_back(ends: tuple[_End, _End]) -> None:
    """Of a file that both read, one has read the new version a moment earlier."""
    stranger = ends[0].accounts.open("new", _QUOTA)
    for _ in range(3):
        assert await stranger.pass_at_once()
        await stranger.enter()
    stranger.leave()
    stranger.give_back()
    assert await stranger.pass_at_once()


async def test_without_a_rate_nothing_is_asked(kept: OwnAccount, ends: tuple[_End, _End]) -> None:
    """As soon as the file gives the tenant none."""
    account = ends[0].account
    account.change(Quota())
    for _ in range(5):
        await account.pass_in_turn()
        assert await account.pass_at_once()
    assert kept.meter.held_back == 0
