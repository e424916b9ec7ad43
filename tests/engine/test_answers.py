"""Lines of a replica's process, and those who wait for them."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from nasfeat_server.engine.answers import Answers
from nasfeat_server.errors import ReplicaLostError

_LONG_S = 600.0
_SHORT_S = 0.01


@dataclass(slots=True)
class _Ends:
    """Both ends of a socket; `hung` counts how often a process was found to be."""

    theirs: socket.socket
    hung: list[None] = field(default_factory=list)
    ours: Answers = field(init=False)

    def __post_init__(self) -> None:
        self.ours = Answers("cpu:0", lambda: self.hung.append(None))

    def wait(self, limit_s: float = _LONG_S) -> "asyncio.Task[bytes]":
        return asyncio.ensure_future(self.ours.next(limit_s))


@contextlib.asynccontextmanager
async def _connected() -> AsyncIterator[_Ends]:
    ours, theirs = socket.socketpair()
    with theirs:
        ends = _Ends(theirs)
        await asyncio.get_running_loop().create_connection(lambda: ends.ours, sock=ours)
        yield ends
        await ends.ours.close()


async def test_lines_go_to_those_who_wait_in_their_order() -> None:
    """However they are cut into packets, before anybody waits or after; what is sent is one line for each."""
    async with _connected() as ends:
        ends.theirs.sendall(b"first\nsec")
        assert await ends.wait() == b"first"
        second, third = ends.wait(), ends.wait()
        await asyncio.sleep(0)
        ends.theirs.sendall(b"ond\nthird\nfourth\n")
        assert [await second, await third, await ends.wait()] == [b"second", b"third", b"fourth"]
        ends.ours.send(b"order")
        assert ends.theirs.recv(100) == b"order\n"


async def test_whoever_leaves_takes_the_line_along() -> None:
    """An answer that nobody waits for any more is not taken for the next one's."""
    async with _connected() as ends:
        left, stays = ends.wait(), ends.wait()
        await asyncio.sleep(0)
        left.cancel()
        ends.theirs.sendall(b"to who left\nto who stays\n")
        assert await stays == b"to who stays"


async def test_a_death_is_blamed_on_who_has_waited_longest() -> None:
    """The others hear that their turn never came; so does everybody who asks later."""
    async with _connected() as ends:
        first, second = ends.wait(), ends.wait()
        await asyncio.sleep(0)
        ends.theirs.close()
        with pytest.raises(ReplicaLostError, match="cpu:0 died while it worked") as died:
            await first
        with pytest.raises(ReplicaLostError, match="cpu:0 is gone") as gone:
            await second
        assert (died.value.started, gone.value.started) == (True, False)
        await ends.ours.settled()
        assert ends.ours.over
        with pytest.raises(ReplicaLostError, match="cpu:0 is gone"):
            await ends.wait()


async def test_a_time_limit_begins_with_the_turn() -> None:
    """A short one behind a long one counts from when the long one has its line, and not from an alarm set before."""
    async with _connected() as ends:
        long, short, last = ends.wait(), ends.wait(_SHORT_S), ends.wait()
        await asyncio.sleep(0)
        ends.theirs.sendall(b"line\n")
        assert await long == b"line"
        with pytest.raises(ReplicaLostError, match=r"cpu:0 gave no answer for 0\.01 s"):
            await short
        with pytest.raises(ReplicaLostError, match="cpu:0 is gone"):
            await last
        assert len(ends.hung) == 1
        ends.theirs.sendall(b"too late\n")
        with pytest.raises(ReplicaLostError, match="cpu:0 is gone"):
            await ends.wait()


async def test_an_alarm_of_an_answer_that_came_is_none() -> None:
    """The next one to wait has its whole time, and whoever is behind it none that runs."""
    async with _connected() as ends, _connected() as clock:
        quick = ends.wait(_SHORT_S)
        await asyncio.sleep(0)
        ends.theirs.sendall(b"quick\n")
        assert await quick == b"quick"
        patient, short = ends.wait(), ends.wait(_SHORT_S)
        with pytest.raises(ReplicaLostError):
            await clock.wait(2 * _SHORT_S)
        assert not patient.done()
        assert not short.done()
        ends.theirs.sendall(b"patient\n")
        assert await patient == b"patient"
        with pytest.raises(ReplicaLostError, match="no answer"):
            await short
