"""What a tenant's quota means to a call; for calls of nobody in particular, nothing."""

import contextlib
from collections.abc import AsyncIterator, Mapping

from nasfeat.v1 import feature_service_pb2
from nasfeat_server.rpc.authentication import caller
from nasfeat_server.rpc.frames import FramePath
from nasfeat_server.rpc.live import OpenStream
from nasfeat_server.rpc.metered import MeteredPath
from nasfeat_server.security.tokens import Priority

_PRIORITIES: Mapping[Priority, feature_service_pb2.Priority.ValueType] = {
    "low": feature_service_pb2.PRIORITY_LOW,
    "normal": feature_service_pb2.PRIORITY_NORMAL,
    "high": feature_service_pb2.PRIORITY_HIGH,
}


def path_of_caller(path: FramePath) -> FramePath:
    """Give the way that the images of this call take to the devices behind `path`."""
    who = caller()
    return MeteredPath.of(path, owner=who.tenant.name, meter=who.tenant.account.meter) if who else path


def highest_priority() -> feature_service_pb2.Priority.ValueType:
    """Tell what this call may have at most."""
    who = caller()
    return _PRIORITIES[who.tenant.quota.max_priority] if who else feature_service_pb2.PRIORITY_HIGH


def cap_priority(options: feature_service_pb2.StreamOptions) -> None:
    """Lower the priority that a stream asks for to what its tenant may have; the grant tells."""
    highest = highest_priority()
    asked = options.priority or feature_service_pb2.PRIORITY_NORMAL
    # What is no priority is left for others to refuse.
    if highest < asked <= feature_service_pb2.PRIORITY_HIGH:
        options.priority = highest


@contextlib.asynccontextmanager
async def counted(stream: OpenStream) -> AsyncIterator[None]:
    """Count a stream of the caller's for as long as the context lasts.

    Raises:
        OverloadedError: on entering: the caller has as many as it may.
    """
    if who := caller():
        async with who.stream(stream.stop_reading):
            yield
    else:
        yield
