"""An image on its way is an answer to all who want the same."""

import asyncio

from nasfeat_server.scheduling.sharing import Key, Sharing

KEY = Key(content=b"digest", outputs=("global_pool",))


async def test_who_asks_after_the_leader_has_settled_is_answered() -> None:
    """A follower may be found before its leader settles, and begin to wait only then."""
    sharing = Sharing(cache=None, max_following_bytes=1)
    leading = sharing.lead(KEY, 1.0)
    followed = sharing.follow(KEY, 1.0, 1)
    assert followed is leading
    sharing.settle(KEY, leading, b"features")
    assert await asyncio.wait_for(followed.result(), 5) == b"features"
    assert sharing.follow(KEY, 1.0, 0) is None


async def test_a_follower_that_leaves_leaves_the_others_waiting() -> None:
    """Of two who wait, one is cancelled: the other gets the outcome."""
    sharing = Sharing(cache=None, max_following_bytes=2)
    leading = sharing.lead(KEY, 1.0)
    leaving, staying = (asyncio.ensure_future(leading.result()) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait((leaving,))
    sharing.settle(KEY, leading, None)
    assert await asyncio.wait_for(staying, 5) is None
    assert leaving.cancelled()
