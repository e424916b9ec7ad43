"""Tells of every call what gRPC has every server tell: that it came, how it ended, and what went through it.

gRPC's own plugin for this (grpcio-observability) pins grpcio to one release.
"""

import asyncio
import functools
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import grpc
import grpc.aio

from nasfeat_server.rpc import tracing
from nasfeat_server.telemetry.events import CallEnded, CallStarted, Observer, Refused
from nasfeat_server.telemetry.traces import Traced

# What is not served is told under one name: clients may ask for anything.
_OTHER = "other"

# The types know type parameters that the library does not have.
_MAKERS: "dict[tuple[bool, bool], tuple[str, Callable[..., grpc.RpcMethodHandler[Any, Any]]]]" = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}


class CallsInterceptor(grpc.aio.ServerInterceptor):
    """Observes calls; to be the first of the interceptors, so that those are seen that another one refuses.

    Args:
        methods: those that are served, as "package.Service/Method".
        observer: told of every call.
    """

    def __init__(self, *, methods: Iterable[str], observer: Observer) -> None:
        self._methods = frozenset(methods)
        self._observer = observer

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Give the handler of a call."""
        method = handler_call_details.method.removeprefix("/")
        call = _Call(method if method in self._methods else _OTHER, self._observer)
        # The task of the whole call: it ends in any case, also if the call's handler is never reached.
        if task := asyncio.current_task():
            task.add_done_callback(call.end)
        handler = await continuation(handler_call_details)
        if not handler:
            call.code = grpc.StatusCode.UNIMPLEMENTED
            self._observer.observe(Refused(method=_OTHER, reason="Unimplemented", message="there is no such method"))
            return None
        name, make = _MAKERS[handler.request_streaming, handler.response_streaming]
        return make(
            call.watching(getattr(handler, name)),
            request_deserializer=call.counting_received(handler.request_deserializer),
            response_serializer=call.counting_sent(handler.response_serializer),
        )


class _Call:
    """One call; `code` is its status as far as it is known, CANCELLED until its handler has begun."""

    def __init__(self, method: str, observer: Observer) -> None:
        self.code = grpc.StatusCode.CANCELLED
        self._method = method
        self._observer = observer
        self._started_at = time.monotonic()
        self._received = 0
        self._sent = 0
        self._traced: Traced | None = None
        observer.observe(CallStarted(method=method))

    def end(self, _: object) -> None:
        self._observer.observe(
            CallEnded(
                method=self._method,
                code=self.code.name,
                duration_s=time.monotonic() - self._started_at,
                sent_bytes=self._sent,
                received_bytes=self._received,
                traced=self._traced,
            )
        )

    def counting_received(self, parse: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
        def counted(message: bytes) -> Any:
            self._received += len(message)
            return parse(message) if parse else message

        return counted

    def counting_sent(self, serialize: Callable[[Any], bytes] | None) -> Callable[[Any], bytes]:
        def counted(message: Any) -> bytes:
            written: bytes = serialize(message) if serialize else message
            self._sent += len(written)
            return written

        return counted

    def watching(self, behavior: Callable[..., Any]) -> Callable[..., Any]:
        """Give `behavior` as a handler of the same kind, which is how gRPC knows what to do with it."""
        if inspect.isasyncgenfunction(behavior):
            return functools.partial(self._generate, behavior)
        return functools.partial(self._run, behavior)

    async def _run(self, behavior: Callable[..., Awaitable[Any]], request: Any, context: Any) -> Any:
        # Here, since it is not decided before who calls is known.
        self._traced = tracing.traced()
        try:
            answer = await behavior(request, context)
        except BaseException as error:
            self.code = _code_after(error, context)
            raise
        self.code = _code(context)
        return answer

    async def _generate(
        self, behavior: Callable[..., AsyncIterator[Any]], request: Any, context: Any
    ) -> AsyncIterator[Any]:
        self._traced = tracing.traced()
        try:
            async for answer in behavior(request, context):
                yield answer
        except BaseException as error:
            self.code = _code_after(error, context)
            raise
        self.code = _code(context)


def _code(context: Any) -> grpc.StatusCode:
    """Give the status that the handler has set, which gRPC keeps as itself or as its number; OK if it has set none."""
    code = context.code()
    return code if isinstance(code, grpc.StatusCode) else _CODES.get(code, grpc.StatusCode.OK)


def _code_after(error: BaseException, context: Any) -> grpc.StatusCode:
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return grpc.StatusCode.CANCELLED
    code = _code(context)
    return grpc.StatusCode.UNKNOWN if code is grpc.StatusCode.OK else code


_CODES = {code.value[0]: code for code in grpc.StatusCode}
