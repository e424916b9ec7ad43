"""What is traced of a call; of most, nothing."""

import dataclasses
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Any

import grpc
import grpc.aio

from nasfeat.v1 import feature_service_pb2
from nasfeat_server.rpc.frames import FramePath
from nasfeat_server.telemetry.traces import CallTrace, Traced, Tracer

_SERVICE = feature_service_pb2.DESCRIPTOR.services_by_name["FeatureService"]
_METHODS = frozenset(f"{_SERVICE.full_name}/{method.name}" for method in _SERVICE.methods)

# gRPC runs a call's handler in the task, and so in the context, of its interceptors.
_trace: ContextVar[CallTrace | None] = ContextVar("trace", default=None)


def traced() -> Traced | None:
    """Give the call that this is part of; None if it is not traced."""
    trace = _trace.get()
    return trace.traced if trace else None


def path_of_call(path: FramePath) -> FramePath:
    """Give the way that images of this call take, on which those are traced that are to be."""
    trace = _trace.get()
    return dataclasses.replace(path, trace=trace) if trace else path


class TracingInterceptor(grpc.aio.ServerInterceptor):
    """Lets a tracer decide on calls of FeatureService and its like; to be behind authentication: no stranger is traced.

    Health checks and reflection would be most of the calls, and tell nothing.
    """

    def __init__(self, tracer: Tracer, others: Iterable[str]) -> None:
        """Ask `tracer` about FeatureService and the methods `others`, which are "package.Service/Method"."""
        self._tracer = tracer
        self._methods = _METHODS.union(others)

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Give the handler of a call."""
        method = handler_call_details.method.removeprefix("/")
        if method in self._methods:
            _trace.set(self._tracer.call(method, handler_call_details.invocation_metadata))
        return await continuation(handler_call_details)
