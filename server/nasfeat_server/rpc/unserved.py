"""Calls of methods that are not served, kept away from gRPC's main loop.

Since 1.84 grpc.aio decodes the name of such a method in the loop that takes all calls, and a name that is no UTF-8 ends
that: one call of anybody's closes the port. Here these calls are taken, and refused, beside it. There is no public way;
pyproject.toml asks for the releases with which this was tried. Older ones have another fault: their clients can hang.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Never

import grpc.aio
from grpc._cython import cygrpc  # type: ignore[attr-defined]

_Interceptors = Sequence[grpc.aio.ServerInterceptor]
# Its own is not to be had from here.
_NAME = "unserved"
_NOT_TOO_MANY = False


def make_server(options: Sequence[tuple[str, Any]], interceptors: _Interceptors) -> grpc.aio.Server:
    """Make a server that a call of a method with whatever name leaves alone.

    Every method that it serves must be registered by name, as generated code does.

    Args:
        options: gRPC's.
        interceptors: the first one first; they see an unserved method under one name, whatever it was.
    """
    with _made_of(interceptors):
        return grpc.aio.server(options=options, interceptors=interceptors)


@contextlib.contextmanager
def _made_of(interceptors: _Interceptors) -> Iterator[None]:
    """Let grpc.aio make servers of our own kind; it has no parameter for that."""
    theirs = cygrpc.AioServer

    class Server(theirs):  # type: ignore[misc, valid-type]
        """Takes calls of methods that are not registered by itself."""

        def _make_request_call_future(self, method: bytes | None) -> "asyncio.Future[Any]":
            if method is None:
                return asyncio.get_running_loop().create_task(self._refuse())
            future: asyncio.Future[Any] = super()._make_request_call_future(method)
            return future

        async def _refuse(self) -> Never:
            """Refuse one call after the other; ends as the main loop's own wait for them would."""
            loop, nothing = asyncio.get_running_loop(), cygrpc._MethodResolver([], {})
            under_way: set[asyncio.Task[None]] = set()
            while True:
                call = await self._request_call()
                answer = cygrpc._handle_rpc(_NAME, nothing, tuple(interceptors), call, loop, _NOT_TOO_MANY)
                task = loop.create_task(cygrpc._schedule_rpc_coro(answer, call, loop, _NAME))
                under_way.add(task)
                task.add_done_callback(under_way.discard)

    cygrpc.AioServer = Server
    try:
        yield
    finally:
        cygrpc.AioServer = theirs
