"""An image on its way is an answer to all who want the same."""

import asyncio

from nasfeat_server.scheduling.sharing import Key, Sharing

KEY = Key(content=b"digest", outputs=("global_pool",))


async def test_who_asks_after_the_leader_has_settled_is_answered() -> None:
    """A follower may be found before its leader settles, and begin to wait only then."""
    sharing = Sharing(cache=None, max_bytes=2)
    leading = sharing.lead(KEY, 1.0, 1)
    assert leading
    followed = sharing.follow(KEY, 1.0, 1)
    assert followed is leading
    sharing.settle(KEY, leading, b"features")
    assert await asyncio.wait_for(followed.result(), 5) == b"features"
    assert sharing.follow(KEY, 1.0, 0) is None


async def test_a_follower_that_leaves_leaves_the_others_waiting() -> None:
    """Of two who wait, one is cancelled: the other gets the outcome."""
    sharing = Sharing(cache=None, max_bytes=2)
    leading = sharing.lead(KEY, 1.0, 1)
    assert leading
    leaving, staying = (asyncio.ensure_future(leading.result()) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait((leaving,))
    sharing.settle(KEY, leading, None)
    assert await asyncio.wait_for(staying, 5) is None
    assert leaving.cancelled()


async def test_what_is_kept_is_bounded() -> None:
    """Leaders and followers count; beyond the bound, images go their own way, and room comes back."""
    sharing = Sharing(cache=None, max_bytes=10)
    leading = sharing.lead(KEY, 1.0, 6)
    assert leading
    assert sharing.follow(KEY, 1.0, 6) is None
    assert sharing.follow(KEY, 1.0, 4) is leading
    other = Key(content=b"other", outputs=("global_pool",))
    assert sharing.lead(other, 1.0, 1) is None
    sharing.unfollow(4)
    sharing.settle(KEY, leading, None)
    assert sharing.lead(other, 1.0, 10)


async def test_a_cache_gets_results_that_nobody_could_wait_for() -> None:
    """Without room to keep an image its results are kept all the same."""
    cache: dict[Key, bytes] = {}
    sharing = Sharing(cache=cache, max_bytes=0)
    leading = sharing.lead(KEY, 1.0, 5)
    assert leading
    assert sharing.follow(KEY, 1.0, 0) is None
    sharing.settle(KEY, leading, b"features")
    assert cache == {KEY: b"features"}
