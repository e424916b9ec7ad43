"""How attacks on the port are made, and what of their answers counts as a fault of the server."""

from dataclasses import dataclass

import grpc
import pytest
from tests.fuzz.port import calls, http2
from tests.fuzz.wire_mutation import drawing

_HEADERS = ((b":method", b"POST"), (b":path", b"/a/b"), (b":scheme", b"http"), (b":authority", b"x"))
_SENT = http2.conversation(_HEADERS, bytes(40_000))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A call with its status."""

    status: grpc.StatusCode
    text: str

    async def code(self) -> grpc.StatusCode:
        """Give the status."""
        return self.status

    async def details(self) -> str:
        """Give what goes with it."""
        return self.text


def test_a_conversation_is_changed_by_frames() -> None:
    """It begins as HTTP/2 does, else nothing behind that would be tried; a seed decides the rest."""
    changed = {seed: http2.mutated(_SENT, drawing(seed)) for seed in range(100)}
    assert all(sent.startswith(http2.PREFACE) for sent in changed.values())
    assert len(set(changed.values())) > 90
    assert changed == {seed: http2.mutated(_SENT, drawing(seed)) for seed in range(100)}


@pytest.mark.parametrize("status", [grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE])
async def test_a_server_that_takes_the_blame_is_found(status: grpc.StatusCode) -> None:
    """Nothing that a client sends is the server's fault."""
    with pytest.raises(calls.FaultError, match=f"{status.name}: it failed"):
        await calls.judge(Ended(status=status, text="it failed"))


async def test_refusals_are_right() -> None:
    """And a call that the server leaves without an answer is one that hangs."""
    await calls.judge(Ended(status=grpc.StatusCode.INVALID_ARGUMENT, text="a message cannot be parsed"))
    with pytest.raises(TimeoutError):
        await calls.judge(Ended(status=grpc.StatusCode.DEADLINE_EXCEEDED, text="Deadline Exceeded"))
