"""Calls without a known token end before anything of them is read."""

import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health

from nasfeat.v1 import feature_service_pb2
from nasfeat_server.errors import UnauthenticatedError
from nasfeat_server.rpc import load
from nasfeat_server.rpc.status import status_of
from nasfeat_server.security.tenants import Caller, Tenants
from nasfeat_server.telemetry.events import Observer, RequestFinished

_log = logging.getLogger(__name__)

# What probes and load balancers ask, which have no tokens: whether the server serves, how busy it is, and nothing else.
_OPEN = (f"/{health.SERVICE_NAME}/", f"/{load.SERVICE}/")
_SERVICE = feature_service_pb2.DESCRIPTOR.services_by_name["FeatureService"]
_METHODS = frozenset(f"{_SERVICE.full_name}/{method.name}" for method in _SERVICE.methods)
_PAUSE_S = 1.0

# gRPC runs a call's handler in the task, and so in the context, of its interceptors.
_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)


def caller() -> Caller | None:
    """Tell whose the call is that this is part of; None where no tokens are asked for."""
    return _caller.get()


def act_for(who: Caller | None) -> None:
    """Let what this task does from now on be `who`'s, as if it were a call of theirs."""
    _caller.set(who)


class AuthenticationInterceptor(grpc.aio.ServerInterceptor):
    """Lets the calls of known tenants through, and what load balancers ask.

    Any other call gets a handler of streams, even where its method is unary: gRPC would read and parse a unary
    request before its handler could refuse.

    Attributes:
        failures: refused calls by reason.
    """

    def __init__(self, tenants: Tenants, observer: Observer) -> None:
        """Ask `tenants` about every call."""
        self.failures: Counter[str] = Counter({"missing": 0, "malformed": 0, "unknown": 0})
        self._tenants = tenants
        self._observer = observer
        self._methods = _METHODS
        self._logged_at = -_PAUSE_S
        self._unlogged = 0
        # Browsers are asked on other threads than calls.
        self._counting = threading.Lock()

    def count(self, methods: Iterable[str]) -> None:
        """Count refused calls of `methods`, too, which are "package.Service/Method"."""
        self._methods = self._methods.union(methods)

    def take_failures(self) -> Mapping[str, int]:
        """Give the refused calls by reason since the last time, for another process to count."""
        with self._counting:
            taken = {reason: count for reason, count in self.failures.items() if count}
            self.failures.subtract(taken)
        return taken

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Give the handler of a call, or of its refusal."""
        method = handler_call_details.method
        if method.startswith(_OPEN):
            return await continuation(handler_call_details)
        metadata = handler_call_details.invocation_metadata
        try:
            found = self._identify([str(value) for key, value in metadata if key == "authorization"])
        except UnauthenticatedError as error:
            return self._refusal(method, error)
        _caller.set(found)
        return await continuation(handler_call_details)

    def identify(self, authorizations: Sequence[str], *, method: str, peer: str) -> Caller:
        """Find out whose a request is that is no call of gRPC, from any thread.

        Args:
            authorizations: the values of its `authorization`.
            method: what it wants, for the log.
            peer: where it comes from.

        Raises:
            UnauthenticatedError: nobody's who is known.
        """
        try:
            return self._identify(authorizations)
        except UnauthenticatedError as error:
            self._note(method, peer, error)
            raise

    def _identify(self, authorizations: Sequence[str]) -> Caller:
        try:
            return self._tenants.identify(authorizations)
        except UnauthenticatedError as error:
            with self._counting:
                self.failures[error.reason] += 1
            raise

    def _refusal(self, method: str, error: UnauthenticatedError) -> "grpc.RpcMethodHandler[Any, Any]":
        async def refuse(_: AsyncIterator[bytes], context: "grpc.aio.ServicerContext[Any, Any]") -> None:
            self._count(method, error)
            self._note(method, context.peer(), error)
            await context.abort(status_of(error).code, str(error))

        return grpc.stream_stream_rpc_method_handler(refuse)

    def _count(self, method: str, error: UnauthenticatedError) -> None:
        # Of the methods that there are alone: a label of anything that strangers send has no bound.
        if method.removeprefix("/") in self._methods:
            name = method.rpartition("/")[2]
            self._observer.observe(RequestFinished(method=name, code=status_of(error).code.name))

    def _note(self, method: str, peer: str, error: UnauthenticatedError) -> None:
        now = time.monotonic()
        with self._counting:
            if now - self._logged_at < _PAUSE_S:
                self._unlogged += 1
                return
            others = f"; {self._unlogged} more since the line before" if self._unlogged else ""
            self._logged_at, self._unlogged = now, 0
        _log.warning("refused %r of %s: token %s%s", method, peer, error.reason, others)
