"""Calls are taken here, one method beside the other, and not in gRPC's main loop.

After each call that loop waits anew for every method that is served, so that more protocols make every call dearer.
And since 1.84 it decodes the name of a method that is not served, and a name that is no UTF-8 ends it: one call of
anybody's closes the port. There is no public way around it; pyproject.toml asks for the releases with which this was
tried. Older ones have another fault: their clients can hang.
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
# Of one method, so that calls that come together are taken together.
_WAITS = 4


def make_server(options: Sequence[tuple[str, Any]], interceptors: _Interceptors) -> grpc.aio.Server:
    """Make a server for many methods, which a call of one with whatever name leaves alone.

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
        """Takes calls by itself."""

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self._methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
            self._under_way: set[asyncio.Task[None]] = set()

        def add_registered_method_handlers(self, handlers: "dict[str, grpc.RpcMethodHandler[Any, Any]]") -> None:
            """Register methods by their names, as the server that this is made of."""
            super().add_registered_method_handlers(handlers)
            self._methods.update(handlers)

        def _make_request_call_future(self, method: bytes | None) -> "asyncio.Future[Any]":
            # They end together, with gRPC.
            return asyncio.gather(*(self._take(method) for _ in range(_WAITS)))

        async def _take(self, method: bytes | None) -> Never:
            """Take one call after the other of a method, or of all that are not served; ends as gRPC's wait would."""
            loop, resolver = asyncio.get_running_loop(), cygrpc._MethodResolver([], self._methods)
            name = _NAME if method is None else method.decode()
            while True:
                call = await (self._request_call() if method is None else self._request_registered_call(method))
                answer = cygrpc._handle_rpc(name, resolver, tuple(interceptors), call, loop, _NOT_TOO_MANY)
                task = loop.create_task(cygrpc._schedule_rpc_coro(answer, call, loop, name))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)

    cygrpc.AioServer = Server
    try:
        yield
    finally:
        cygrpc.AioServer = theirs
