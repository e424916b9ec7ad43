"""What a tenant's quota means to a call; for calls of nobody in particular, nothing."""

import contextlib
from collections.abc import Mapping

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
    return MeteredPath.of(path, owner=who.tenant.name, meter=who.tenant.meter) if who else path


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


def counted(stream: OpenStream) -> contextlib.AbstractContextManager[None]:
    """Count a stream of the caller's for as long as the context lasts.

    Raises:
        OverloadedError: on entering: the caller has as many as it may.
    """
    who = caller()
    return who.stream(stream.stop_reading) if who else contextlib.nullcontext()
