"""grpc.health.v1 for servers on asyncio.

grpcio-health-checking has one, in whose `Watch` the first watcher that leaves takes the news from the others, since it
deletes the condition that they share; and whose watches outlive the news that the server stops, so that each stop takes
the whole grace as long as anybody watches.
"""

import asyncio
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

_Status = health_pb2.HealthCheckResponse
_Context = grpc.aio.ServicerContext[Any, Any]


class HealthServicer(health_pb2_grpc.HealthServicer):
    """Tells by name what serves. Names that were never set are unknown."""

    def __init__(self) -> None:
        """Start without any name."""
        self._statuses: dict[str, int] = {}
        self._stopping = False
        # Replaced at each change: whoever watches waits for the one that it saw.
        self._changed = asyncio.Event()

    def set(self, name: str, *, serving: bool) -> None:
        """Tell from now on that `name` serves, or does not; without effect once the server stops."""
        if not self._stopping:
            self._statuses[name] = _Status.SERVING if serving else _Status.NOT_SERVING
            self._tell()

    def stop(self) -> None:
        """Tell once and for all that nothing serves; watches end with that news."""
        self._stopping = True
        self._statuses = dict.fromkeys(self._statuses, _Status.NOT_SERVING)
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: _Context) -> _Status:
        """Answer with the status of a name, or NOT_FOUND."""
        status = self._statuses.get(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"nothing here is called {request.service!r}")
        return _reply(status)

    # grpc.aio also takes handlers that write.
    async def Watch(self, request: health_pb2.HealthCheckRequest, context: _Context) -> None:
        """Send the status of a name now and at each change; only the newest counts."""
        told = None
        while True:
            changed, stopping = self._changed, self._stopping
            status = self._statuses.get(request.service, _Status.SERVICE_UNKNOWN)
            if status != told:
                await context.write(_reply(status))
                told = status
            if stopping:
                return
            await changed.wait()


def _reply(status: int) -> health_pb2.HealthCheckResponse:
    reply = health_pb2.HealthCheckResponse()
    reply.status = status
    return reply
