"""Messages that are not what their method takes: refused as the caller's mistake.

Left to gRPC they are an error of the server's, with a traceback in its log for each: a client could fill a disk with
that.
"""

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import grpc.aio
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError

from nasfeat_server.rpc import tracing, wire
from nasfeat_server.rpc.payload import METHODS
from nasfeat_server.telemetry.events import Observer, Refused


@dataclass(frozen=True, slots=True)
class _Malformed:
    """Stands for a message that could not be parsed."""

    problem: str


_Refuse: TypeAlias = Callable[[_Malformed, Any], Awaitable[None]]


class MalformedInterceptor(grpc.aio.ServerInterceptor):
    """Answers calls with one malformed message by INVALID_ARGUMENT; in a stream such a message counts as an empty one.

    Methods of `payload.METHODS` are left alone: their parsers tell of such messages.
    """

    def __init__(self, observer: Observer, kinds: Mapping[str, Descriptor]) -> None:
        """Tell `observer` of calls that are refused; a stream's handler tells of its own.

        Args:
            observer: told of them.
            kinds: what those methods take that protobuf does not know, by "package.Service/Method".
        """
        self._observer = observer
        self._kinds = kinds
        # gRPC asks at every call, and a method has one handler for ever.
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Give the handler of a call."""
        method = handler_call_details.method
        if known := self._handlers.get(method):
            return known
        handler = await continuation(handler_call_details)
        if handler:
            self._handlers[method] = handler = self._guarded(method, handler)
        return handler

    def _guarded(self, path: str, handler: "grpc.RpcMethodHandler[Any, Any]") -> "grpc.RpcMethodHandler[Any, Any]":
        parse = handler.request_deserializer
        if not parse or path in METHODS:
            return handler
        method = path.removeprefix("/")
        kind = self._kinds.get(method) or _kind_of(method)
        if handler.request_streaming:
            return _with(handler, _parser(parse, kind, lambda _: parse(b"")), lambda behavior: behavior)
        refuse = functools.partial(_refuse_malformed, method.rpartition("/")[2], self._observer)
        return _with(handler, _parser(parse, kind, _Malformed), functools.partial(_checked, refuse))


def _kind_of(method: str) -> Descriptor:
    """Give the kind of message that a method takes which has a handler."""
    return descriptor_pool.Default().FindMethodByName(method.replace("/", ".")).input_type


def _parser(parse: Callable[[bytes], Any], kind: Descriptor, instead: Callable[[str], Any]) -> Callable[[bytes], Any]:
    def parsed(message: bytes) -> Any:
        if problem := wire.excess(message, kind):
            return instead(problem)
        try:
            return parse(message)
        except DecodeError as error:
            return instead(str(error))

    return parsed


def _with(
    handler: "grpc.RpcMethodHandler[Any, Any]", parse: Callable[[bytes], Any], wrap: Callable[[Any], Any]
) -> "grpc.RpcMethodHandler[Any, Any]":
    kinds = {
        (False, False): (grpc.unary_unary_rpc_method_handler, handler.unary_unary),
        (False, True): (grpc.unary_stream_rpc_method_handler, handler.unary_stream),
        (True, False): (grpc.stream_unary_rpc_method_handler, handler.stream_unary),
        (True, True): (grpc.stream_stream_rpc_method_handler, handler.stream_stream),
    }
    make: Any
    make, behavior = kinds[handler.request_streaming, handler.response_streaming]
    made: grpc.RpcMethodHandler[Any, Any] = make(
        wrap(behavior), request_deserializer=parse, response_serializer=handler.response_serializer
    )
    return made


def _checked(refuse: _Refuse, behavior: Callable[..., Any]) -> Callable[..., Any]:
    """Give `behavior` as a handler of the same kind, which is how gRPC knows what to do with it."""
    return functools.partial(_generate if inspect.isasyncgenfunction(behavior) else _run, refuse, behavior)


async def _run(refuse: _Refuse, behavior: Callable[..., Awaitable[Any]], request: Any, context: Any) -> Any:
    if isinstance(request, _Malformed):
        await refuse(request, context)
    return await behavior(request, context)


async def _generate(
    refuse: _Refuse, behavior: Callable[..., AsyncIterator[Any]], request: Any, context: Any
) -> AsyncIterator[Any]:
    if isinstance(request, _Malformed):
        await refuse(request, context)
    async for answer in behavior(request, context):
        yield answer


async def _refuse_malformed(method: str, observer: Observer, request: _Malformed, context: Any) -> None:
    message = f"the message cannot be parsed: {request.problem}"
    observer.observe(Refused(method=method, reason="InvalidRequest", message=message, traced=tracing.traced()))
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, message)
